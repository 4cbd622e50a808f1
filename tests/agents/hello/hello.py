def hello(input):
    return {"message": f"Hello, {input.get('name', 'world')}!"}
