"""A tenant at a hundred times its rate beside one that keeps its own: does the second feel it?"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..generators import Load, oha, oha_command
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_least, at_most, no_errors
from ..server import Server
from ..tokens import AUDIENCE, ISSUER, Issuer

# What the greedy tenant may: a hundred times of it leaves a machine of two cores some CPU.
RATE = 20
TIMES = 100
# What the modest tenant sends, well below what it may: enough for a p99 in a few seconds.
MODEST = 200
# The flood is in full flow before the other is measured.
SETTLE = 1
ASKED_GROWTH = 1.2


def fair(bench: Bench) -> Result:
    """The modest tenant's p99 alone and beside the flood, in turn; the median of the pairs."""
    title = f"A tenant at {MODEST}/s beside one at {TIMES} × its rate of {RATE}/s"
    result = Result("fair", title, ["tenant", "p50 µs", "p99 µs", "p99.9 µs"])
    if not bench.par:
        return result
    alone: list[Load] = []
    beside: list[Load] = []
    refused: list[float] = []
    with tempfile.TemporaryDirectory(prefix="par-bench-") as folder:
        issuer = Issuer.make(Path(folder))
        adapter = {"type": "jwks_file", "path": str(issuer.jwks), "issuer": ISSUER, "audience": AUDIENCE}
        limits = {"tenant_rate": f"{RATE}/s", "tenants": {"modest": {"rate": f"{2 * MODEST}/s"}}}
        par = replace(bench.par, config={"identity": {"adapters": [adapter]}, "limits": limits})
        modest, greedy = issuer.token(1, "modest"), issuer.token(2, "greedy")
        for number in range(1, bench.plan.rounds + 1):
            with par.start("guarded") as running:
                server, path, seconds = running.server, par.path("open"), bench.plan.neighbour

                def measure(at: Server = server, to: str = path, long: float = seconds) -> Load:
                    return oha(at, to, ECHO_TEXT, MODEST, long, modest)

                measure()
                alone.append(measure())
                flood = oha_command(server, path, ECHO_TEXT, RATE * TIMES, seconds + SETTLE + 1, greedy)
                loaded, share = _beside(flood, measure)
                beside.append(loaded)
                refused.append(share)
            bench.say(f"fair {number}/{bench.plan.rounds}: p99 {alone[-1].p99:,.0f} → {loaded.p99:,.0f} µs")
    for name, loads in (("modest, alone", alone), ("modest, beside the flood", beside)):
        times = [[load.p50 for load in loads], [load.p99 for load in loads], [load.p999 for load in loads]]
        result.lines.append([name, *(f"{statistics.median(each):,.0f}" for each in times)])
    growth = [loaded.p99 / free.p99 for loaded, free in zip(beside, alone, strict=True)]
    result.verdicts = [
        at_most(
            "growth of the modest tenant's p99, median of pairs",
            statistics.median(growth),
            ASKED_GROWTH,
            " ×",
            2,
        ),
        at_least("share of the flood that was refused", min(refused), 0.9),
        no_errors("every call of the modest tenant answered", sum(load.errors for load in [*alone, *beside])),
    ]
    result.raw = {
        "alone_p99_us": [load.p99 for load in alone],
        "beside_p99_us": [load.p99 for load in beside],
        "growth": growth,
        "refused": refused,
    }
    return result


def _beside(flood: list[str], measure: Callable[[], Load]) -> tuple[Load, float]:
    """What is measured beside the flood, and the share of the flood that was refused."""
    running = subprocess.Popen(flood, stdout=subprocess.PIPE)
    try:
        time.sleep(SETTLE)
        load = measure()
    finally:
        told, _ = running.communicate(timeout=60)
    statuses = json.loads(told)["statusCodeDistribution"]
    return load, statuses.get("429", 0) / max(1, sum(statuses.values()))
