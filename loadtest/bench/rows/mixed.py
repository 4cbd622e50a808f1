"""One handler, mostly short, sometimes very long: do the short calls wait behind the long ones?"""

from __future__ import annotations

import random

from ..client import Answer, Call, Pool, post, quantile
from ..plan import Bench, Result, at_most, no_errors

CONNECTIONS = 32
SHORT_US = 50
LONG_US = 500_000
LONG_SHARE = 0.01
WARM_UP = 2.0
ASKED_P99_MS = 3.0


def mixed(bench: Bench) -> Result:
    """Closed loop; the calls are drawn by a fixed seed; latency is kept by class."""
    title = f"1 % of calls wait {LONG_US // 1000} ms among {SHORT_US} µs ones, {CONNECTIONS} connections"
    result = Result("mixed", title, ["calls", "count", "p50 ms", "p99 ms", "p99.9 ms"])
    if not bench.par:
        return result
    dice = random.Random(1)
    path = bench.par.path("mixed")
    short = post(path, {"us": SHORT_US}, "short")
    long = post(path, {"us": LONG_US, "wait": True}, "long")

    def draw() -> Call:
        return long if dice.random() < LONG_SHARE else short

    with bench.par.serve("mixed") as server:
        pool = Pool(server.port, CONNECTIONS)
        try:
            pool.closed_loop(draw, WARM_UP)
            answers = pool.closed_loop(draw, bench.plan.mixed)
        finally:
            pool.close()
    times = {label: _milliseconds(answers, label) for label in ("short", "long")}
    for label, values in times.items():
        shown = [f"{quantile(values, share):,.2f}" for share in (0.5, 0.99, 0.999)]
        result.lines.append([label, f"{len(values):,}", *shown])
    errors = sum(answer.status != 200 for answer in answers)
    p99 = quantile(times["short"], 0.99)
    result.verdicts = [
        at_most("p99 of the short calls", p99, ASKED_P99_MS, " ms", 2),
        no_errors("every mixed call answered", errors),
    ]
    result.raw = {"short_p99_ms": p99, "errors": errors, "calls": len(answers)}
    bench.say(f"mixed: p99 of {len(times['short']):,} short calls {p99:.2f} ms")
    return result


def _milliseconds(answers: list[Answer], label: str) -> list[float]:
    good = (answer for answer in answers if answer.label == label and answer.status == 200)
    return [answer.seconds * 1000 for answer in good]
