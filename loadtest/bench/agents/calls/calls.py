"""Calls another agent."""

import time

from pixell_runtime import runtime


def measure(*, count, rate=0):
    """Microseconds of each call. With a rate they begin as a clock would tell them to, or as soon as they can."""
    took = []
    start = time.perf_counter()
    for number in range(count):
        if rate and (early := start + number / rate - time.perf_counter()) > 0:
            time.sleep(early)
        begun = time.perf_counter_ns()
        runtime.call("echo", message="hello", n=1)
        took.append((time.perf_counter_ns() - begun) / 1000)
    return took
