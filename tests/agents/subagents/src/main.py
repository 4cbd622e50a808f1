def handler(context):
    return {"message": "Hello from handler", "received": context}
