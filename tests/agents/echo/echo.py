def echo(input):
    return input


async def aecho(input):
    return input
