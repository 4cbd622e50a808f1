"""Calls another agent, and yields the time."""

import asyncio
import time

from pixell_runtime import runtime


def measure(*, count, pause=0.0):
    """Microseconds of each call."""
    took = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        runtime.call("echo", message="hello", n=1)
        took.append((time.perf_counter_ns() - begun) / 1000)
        if pause:
            time.sleep(pause)
    return took


async def ticks(*, count, pause):
    """The monotonic clock, which all processes share, at each yield."""
    for _ in range(count):
        yield time.monotonic_ns()
        await asyncio.sleep(pause)
