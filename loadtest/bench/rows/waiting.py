"""500 callers at once of a handler that waits for something else, as most agents do."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict

from .. import process
from ..generators import Load, wrk
from ..plan import Bench, Result, Subject, Verdict, median_load, no_errors

CALLERS = 500
WAIT_US = 100_000
#: A loop that starts takes its time with the first hundreds of connections.
SECONDS = 4


def waiting(bench: Bench) -> Result:
    """All servers with such a handler in turn; at best each caller is answered ten times a second."""
    header = ["server", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "PSS MB"]
    title = f"{CALLERS} callers of a handler that waits {WAIT_US / 1000:g} ms"
    result = Result("waiting", title, header)
    own: list[Subject] = [bench.par] if bench.par else []
    subjects = [*own, *(peer for peer in bench.peers if peer.offers("asleep"))]
    seen: dict[str, list[Load]] = defaultdict(list)
    memory: dict[str, float] = {}
    for number in range(1, bench.plan.handler_rounds + 1):
        for subject in subjects:
            with subject.serve("asleep") as server:
                text = json.dumps({"us": WAIT_US})
                load = wrk(server, subject.path("asleep"), text, CALLERS, SECONDS, bench.plan.warm_up)
                seen[subject.title].append(load)
                memory[subject.title] = process.tree_pss_mb(server.pid)
        bench.say(f"waiting {number}/{bench.plan.handler_rounds}: done")
    for name, loads in seen.items():
        load = median_load(loads)
        times = [f"{value / 1000:,.1f}" for value in (load.p50, load.p99)]
        result.lines.append(
            [name, f"{load.rate:,.0f}", *times, f"{load.cpu_us:,.0f}", f"{memory[name]:,.0f}"]
        )
        result.raw[name] = [asdict(load) for load in loads]
    if bench.par:
        result.verdicts = _verdicts(seen[bench.par.title])
    return result


def _verdicts(loads: list[Load]) -> list[Verdict]:
    return [no_errors("every one of 500 callers answered", sum(load.errors for load in loads))]
