"""A slow package beside a fast one: does the fast one feel it?"""

from __future__ import annotations

import statistics
import subprocess
import time

from ..generators import Load, wrk, wrk_command
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_most, no_errors

FAST_CONNECTIONS = 32
SLOW_CONNECTIONS = 64
# The slow package's workers are forked in this time; what they cost then is another row.
SETTLE = 3
ASKED_GROWTH_MS = 2.0


def neighbour(bench: Bench) -> Result:
    """The fast one's p99 alone and beside 64 calls of one second each; medians of the rounds."""
    title = f"Echo at {FAST_CONNECTIONS} connections beside a 1 s blocking package at {SLOW_CONNECTIONS}"
    result = Result("neighbour", title, ["echo", "requests/s", "p50 ms", "p99 ms", "p99.9 ms"])
    if not bench.par:
        return result
    alone: list[Load] = []
    beside: list[Load] = []
    for _ in range(bench.plan.rounds):
        with bench.par.start("echo", "slow") as running:
            server, path = running.server, bench.par.path("echo")
            alone.append(wrk(server, path, ECHO_TEXT, FAST_CONNECTIONS, bench.plan.neighbour, 1))
            slow = subprocess.Popen(
                wrk_command(
                    server,
                    bench.par.path("slow"),
                    "{}",
                    SLOW_CONNECTIONS,
                    bench.plan.neighbour + SETTLE + 2,
                ),
                stdout=subprocess.PIPE,
            )
            try:
                time.sleep(SETTLE)
                beside.append(wrk(server, path, ECHO_TEXT, FAST_CONNECTIONS, bench.plan.neighbour))
            finally:
                slow.communicate(timeout=60)
        bench.say(f"neighbour: p99 {alone[-1].p99 / 1000:.2f} → {beside[-1].p99 / 1000:.2f} ms")
    for name, loads in (("alone", alone), ("beside the slow one", beside)):
        rate = statistics.median(load.rate for load in loads)
        times = [[load.p50 for load in loads], [load.p99 for load in loads], [load.p999 for load in loads]]
        shown = [f"{statistics.median(each) / 1000:,.2f}" for each in times]
        result.lines.append([name, f"{rate:,.0f}", *shown])
    before = statistics.median(load.p99 for load in alone)
    growth = (statistics.median(load.p99 for load in beside) - before) / 1000
    errors = sum(load.errors for load in [*alone, *beside])
    result.verdicts = [
        at_most("growth of the fast package's p99", growth, ASKED_GROWTH_MS, " ms", 2),
        no_errors("every fast call answered", errors),
    ]
    result.raw = {
        "alone_p99_us": [load.p99 for load in alone],
        "beside_p99_us": [load.p99 for load in beside],
    }
    return result
