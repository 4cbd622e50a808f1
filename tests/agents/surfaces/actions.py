"""The actions that other agents call over gRPC."""

import asyncio

CANCELLED = []


async def echo(parameters):
    return parameters


async def text(parameters):
    return f"Hello, {parameters.get('name', 'nobody')}"


async def fail(parameters):
    raise ValueError(parameters.get("message", "it failed on purpose"))


async def slow(parameters):
    """Waits for some seconds (1), and notes when its caller did not."""
    try:
        await asyncio.sleep(float(parameters.get("seconds", 1)))
    except asyncio.CancelledError:
        CANCELLED.append(parameters.get("name", ""))
        raise
    return {"slept": True}


async def cancelled(parameters):
    return CANCELLED


def plain(parameters):
    """Not a coroutine."""
    return {"plain": True, "seen": sorted(parameters)}


class Service:
    def __init__(self):
        handlers = (echo, text, fail, slow, cancelled, plain)
        self.custom_handlers = {handler.__name__: handler for handler in handlers}


def create_service():
    return Service()
