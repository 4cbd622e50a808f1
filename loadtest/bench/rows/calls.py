"""An agent that calls another: what it waits at a hundred calls a second, and how many there can be."""

from __future__ import annotations

import time

from ..client import Pool, post, quantile
from ..plan import Bench, Result, Verdict, at_least, at_most

SLOW_COUNT = 500
PACE = 0.01
FAST_COUNT = 4_000
CALLERS = 4
ASKED_P50_US = 150.0
ASKED_P95_US = 400.0
ASKED_RATE = 10_000.0


def calls(bench: Bench) -> Result:
    """Both packages are warm. Times are taken in the handler that calls."""
    result = Result("calls", "`runtime.call` between two packages", ["load", "calls/s", "p50 µs", "p95 µs"])
    if not bench.par:
        return result
    with bench.par.start("calls", "echo") as running:
        port = running.server.port
        _measure(port, 1, 50, 0.0)
        slow, _ = _measure(port, 1, SLOW_COUNT, PACE)
        # Enough workers for all callers, before the clock runs.
        _measure(port, CALLERS, 200, 0.0)
        fast, seconds = _measure(port, CALLERS, FAST_COUNT, 0.0)
    rate = len(fast) / seconds
    for load, times, shown in (("100/s", slow, "100"), (f"{CALLERS} callers at once", fast, f"{rate:,.0f}")):
        result.lines.append([load, shown, f"{quantile(times, 0.5):.0f}", f"{quantile(times, 0.95):.0f}"])
    result.verdicts = [
        Verdict("every call answered", "all", f"{len(slow) + len(fast)}", len(slow) == SLOW_COUNT),
        at_most("runtime.call at 100/s, p50", quantile(slow, 0.5), ASKED_P50_US, " µs"),
        at_most("runtime.call at 100/s, p95", quantile(slow, 0.95), ASKED_P95_US, " µs"),
        at_least("runtime.call, calls/s", rate, ASKED_RATE, "/s", 0),
    ]
    result.raw = {"slow_us": slow, "fast_us": fast[:2000], "rate": rate}
    return result


def _measure(port: int, callers: int, count: int, pause: float) -> tuple[list[float], float]:
    pool = Pool(port, callers)
    begun = time.perf_counter()
    try:
        body = {"count": count, "pause": pause}
        answers = pool.burst([post("/agents/measure/invoke", body)] * callers, 120.0)
    finally:
        pool.close()
    seconds = time.perf_counter() - begun
    return [took for answer in answers if answer.status == 200 for took in answer.json], seconds
