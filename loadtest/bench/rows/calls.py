"""An agent that calls another: what it waits at a hundred and at ten thousand calls a second, and how many there can be."""

from __future__ import annotations

import time

from ..client import Pool, post, quantile
from ..plan import Bench, Result, Verdict, at_least, at_most
from ..ring import round_trips

#: The exports that call, named for what they call with: from plain functions, and from async code.
KINDS = ("call", "acall")
#: As many as there are cores on the machines that this is meant for: more would wait for each other.
CALLERS = 2
#: Calls a second of all callers, how many callers, and seconds.
LOADS = ((100, 1, 5.0), (10_000, CALLERS, 4.0))
FAST_COUNT = 8_000
ASKED_P50_US = 150.0
ASKED_P95_US = 400.0
#: A clock's last call begins a turn before the end, and starting takes its time, too.
KEPT = 0.98


def calls(bench: Bench) -> Result:
    """Both packages are warm. Times are taken in the handlers that call."""
    header = ["from", "load", "calls/s", "p50 µs", "p95 µs"]
    result = Result("calls", "`runtime.call` between two packages", header)
    if not bench.par:
        return result
    with bench.par.start("calls", "ticks", "echo") as running:
        for kind in KINDS:
            _kind(result, running.server.port, kind)
    for load, rate in (("100/s", 100), ("without a pause", 0)):
        trips = round_trips(500, rate)
        result.lines.append(
            _line("a byte round four processes", load, rate or 1e6 / quantile(trips, 0.5), trips)
        )
        result.raw[f"ring_{rate}_us"] = trips
    return result


def _kind(result: Result, port: int, kind: str) -> None:
    # Enough workers for all callers, and all code seen, before the clock runs.
    for _ in range(3):
        _measure(port, kind, CALLERS, 1_000, 0)
    for rate, callers, seconds in LOADS:
        each = rate // callers
        times, took = _measure(port, kind, callers, round(each * seconds), each)
        reached = len(times) / took
        result.lines.append(_line(kind, f"{rate:,}/s", reached, times))
        result.verdicts += [
            at_least(f"runtime.{kind} at {rate:,}/s, reached", reached, rate * KEPT, "/s", 0),
            at_most(f"runtime.{kind} at {rate:,}/s, p50", quantile(times, 0.5), ASKED_P50_US, " µs"),
            at_most(f"runtime.{kind} at {rate:,}/s, p95", quantile(times, 0.95), ASKED_P95_US, " µs"),
        ]
        result.raw[f"{kind}_{rate}_us"] = times[:4000]
    times, took = _measure(port, kind, CALLERS, FAST_COUNT, 0)
    result.lines.append(_line(kind, f"{CALLERS} callers, without a pause", len(times) / took, times))
    asked = CALLERS * FAST_COUNT
    result.verdicts.append(
        Verdict(f"every runtime.{kind} answered", f"{asked:,}", f"{len(times):,}", len(times) == asked)
    )


def _line(kind: str, load: str, rate: float, times: list[float]) -> list[str]:
    return [kind, load, f"{rate:,.0f}", f"{quantile(times, 0.5):.0f}", f"{quantile(times, 0.95):.0f}"]


def _measure(port: int, kind: str, callers: int, count: int, rate: int) -> tuple[list[float], float]:
    """`count` calls and `rate` of them a second in each of the callers. Microseconds of all, and seconds in all."""
    pool = Pool(port, callers)
    begun = time.perf_counter()
    try:
        answers = pool.burst(
            [post(f"/agents/{kind}/invoke", {"count": count, "rate": rate})] * callers, 120.0
        )
    finally:
        pool.close()
    seconds = time.perf_counter() - begun
    return [took for answer in answers if answer.status == 200 for took in answer.json], seconds
