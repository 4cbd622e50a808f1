"""Yields the time, and calls another agent from async code."""

import asyncio
import time

from pixell_runtime import runtime


async def measure(*, count, rate=0):
    """Microseconds of each call. With a rate they begin as a clock would tell them to, or as soon as they can."""
    took = []
    start = time.perf_counter()
    for number in range(count):
        if rate and (early := start + number / rate - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        begun = time.perf_counter_ns()
        await runtime.acall("echo", message="hello", n=1)
        took.append((time.perf_counter_ns() - begun) / 1000)
    return took


async def ticks(*, count, pause):
    """The monotonic clock, which all processes share, at each yield."""
    for _ in range(count):
        yield time.monotonic_ns()
        await asyncio.sleep(pause)
