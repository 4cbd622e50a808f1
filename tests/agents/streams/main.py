"""Each item that a generator yields is on its way to the caller before the next one is made."""

import asyncio
import os
import time


def count(to, pause=0.0):
    for number in range(to):
        yield {"number": number}
        time.sleep(pause)


async def acount(to, pause=0.0):
    for number in range(to):
        yield {"number": number}
        await asyncio.sleep(pause)


def endless(size=10, pause=0.0):
    try:
        made = 0
        while True:
            yield "x" * size
            made += 1
            time.sleep(pause)
    finally:
        print(f"closed after {made}", flush=True)


async def aendless(size=10, pause=0.0):
    try:
        made = 0
        while True:
            yield "x" * size
            made += 1
            await asyncio.sleep(pause)
    finally:
        print(f"closed after {made}", flush=True)


def breaks(*, items=1):
    yield from range(items)
    raise ValueError("broken on purpose")


def odd():
    yield 1
    yield {"what": object()}


def silent(*, items=0):
    yield from range(items)
    time.sleep(30)
    yield "too late"


def parts(to, fail=False):
    for number in range(to):
        yield b"%d\n" % number
    if fail:
        raise ValueError("broken on purpose")


def dies(*, items=1):
    for number in range(items):
        yield number
        time.sleep(0.05)
    os.abort()


def plain(value):
    return value
