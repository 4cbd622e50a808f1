"""An agent that calls another: what it waits at a hundred and at ten thousand calls a second, and how many there can be."""

from __future__ import annotations

import time

from ..client import Pool, post, quantile
from ..plan import Bench, Result, Verdict, at_least, at_most

CALLERS = 4
#: Calls a second of all callers, and seconds; without a rate as many as there can be.
LOADS = ((100, 1, 5.0), (10_000, CALLERS, 4.0))
FAST_COUNT = 4_000
ASKED_P50_US = 150.0
ASKED_P95_US = 400.0
#: A clock's last call begins a turn before the end, and starting takes its time, too.
KEPT = 0.98


def calls(bench: Bench) -> Result:
    """Both packages are warm. Times are taken in the handlers that call."""
    result = Result("calls", "`runtime.call` between two packages", ["load", "calls/s", "p50 µs", "p95 µs"])
    if not bench.par:
        return result
    with bench.par.start("calls", "echo") as running:
        port = running.server.port
        # Enough workers for all callers, and all code seen, before the clock runs.
        for _ in range(3):
            _measure(port, CALLERS, 1_000, 0)
        for rate, callers, seconds in LOADS:
            each = rate // callers
            times, took = _measure(port, callers, round(each * seconds), each)
            reached = len(times) / took
            result.lines.append(_line(f"{rate:,}/s", reached, times))
            result.verdicts += [
                at_least(f"runtime.call at {rate:,}/s, reached", reached, rate * KEPT, "/s", 0),
                at_most(f"runtime.call at {rate:,}/s, p50", quantile(times, 0.5), ASKED_P50_US, " µs"),
                at_most(f"runtime.call at {rate:,}/s, p95", quantile(times, 0.95), ASKED_P95_US, " µs"),
            ]
            result.raw[f"at_{rate}_us"] = times[:4000]
        times, took = _measure(port, CALLERS, FAST_COUNT, 0)
    result.lines.append(_line(f"{CALLERS} callers, without a pause", len(times) / took, times))
    asked = CALLERS * FAST_COUNT
    result.verdicts.append(
        Verdict("every call answered", f"{asked:,}", f"{len(times):,}", len(times) == asked)
    )
    return result


def _line(load: str, rate: float, times: list[float]) -> list[str]:
    return [load, f"{rate:,.0f}", f"{quantile(times, 0.5):.0f}", f"{quantile(times, 0.95):.0f}"]


def _measure(port: int, callers: int, count: int, rate: int) -> tuple[list[float], float]:
    """`count` calls and `rate` of them a second in each of the callers. Microseconds of all, and seconds in all."""
    pool = Pool(port, callers)
    begun = time.perf_counter()
    try:
        answers = pool.burst(
            [post("/agents/measure/invoke", {"count": count, "rate": rate})] * callers, 120.0
        )
    finally:
        pool.close()
    seconds = time.perf_counter() - begun
    return [took for answer in answers if answer.status == 200 for took in answer.json], seconds
