"""`runtime.call` reaches any agent of the host, private ones included, without a network."""

import asyncio

from pixell_runtime import errors, runtime


def ask(*, agent, input=None):
    try:
        return {"result": str(runtime.call(agent, **(input or {})))}
    except errors.CallFailed as failed:
        return {"code": failed.code, "detail": failed.detail, "error": failed.error, "errors": failed.errors}


async def aask(*, agent, input=None):
    return {"result": str(await runtime.acall(agent, **(input or {})))}


async def gather(*, agent, inputs):
    return await asyncio.gather(*(runtime.acall(agent, **one) for one in inputs))


def follow(*, agent, input=None):
    yield from runtime.stream(agent, **(input or {}))


async def afollow(*, agent, input=None):
    async for item in runtime.astream(agent, **(input or {})):
        yield item


def again(*, depth=0):
    """Calls itself for ever."""
    return runtime.call("calling/again", depth=depth + 1)
