"""A handler of pandas: a table in, sums by group out."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import asdict

from ..generators import Load, wrk
from ..peers import PANDAS
from ..plan import Bench, Result, Subject, median_load, no_errors

CONNECTIONS = 16
ROWS = 1000
GROUPS = 20


def frames(bench: Bench) -> Result:
    """PAR and FastAPI in turn."""
    header = ["server", "requests/s", "p50 ms", "p99 ms", "CPU ms/request"]
    title = f"Sums of {ROWS:,} rows by group with pandas, {CONNECTIONS} connections"
    result = Result("frames", title, header)
    subjects: list[Subject] = [*([bench.par] if bench.par else []), *([PANDAS] if bench.peers else [])]
    chance = random.Random(ROWS)
    table = {
        "group": [f"g{chance.randrange(GROUPS)}" for _ in range(ROWS)],
        "value": [round(chance.random(), 4) for _ in range(ROWS)],
    }
    text = json.dumps(table, separators=(",", ":"))
    seen: dict[str, list[Load]] = defaultdict(list)
    for number in range(1, bench.plan.handler_rounds + 1):
        for subject in subjects:
            with subject.serve("frames") as server:
                path = subject.path("frames")
                load = wrk(server, path, text, CONNECTIONS, bench.plan.handler_seconds, bench.plan.warm_up)
                seen[subject.title].append(load)
        bench.say(f"frames {number}/{bench.plan.handler_rounds}: done")
    for name, loads in seen.items():
        load = median_load(loads)
        times = [f"{value / 1000:,.2f}" for value in (load.p50, load.p99, load.cpu_us)]
        result.lines.append([name, f"{load.rate:,.0f}", *times])
        result.raw[name] = [asdict(load) for load in loads]
    result.verdicts = [
        no_errors("every table added up", sum(load.errors for loads in seen.values() for load in loads))
    ]
    return result
