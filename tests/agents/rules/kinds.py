"""What may be a handler."""

import asyncio


class Greeter:
    """A class with `invoke`: made once, called often."""

    def __init__(self):
        self.calls = 0

    def invoke(self, input):
        self.calls += 1
        return {"hello": input["name"]}


class Multiply:
    """An object that can be called."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, input):
        return input["number"] * self.factor


multiply = Multiply(3)


def count(to):
    """A generator: each item is one event. Two parameters would make it keywords; one gets the whole input."""
    for number in range(to["to"]):
        yield {"number": number}


async def acount(input):
    """The same as a coroutine."""
    for number in range(input["to"]):
        await asyncio.sleep(0)
        yield {"number": number}


def broken(input):
    """A generator that fails on the way."""
    yield {"number": 0}
    raise RuntimeError("broke after one item")


def own_loop(input):
    """Many synchronous handlers run a loop of their own."""

    async def work():
        await asyncio.sleep(0)
        return {"looped": input}

    return asyncio.run(work())
