"""A FastAPI application behind PAR, against the same application on uvicorn alone: one process each."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .. import tools
from ..client import ask, get
from ..generators import Load, wrk
from ..par import AGENTS, Par
from ..plan import Bench, Result, at_least, at_most, median_load, no_errors
from ..server import Server, free_ports, start

AGENT = "rest"
PATH = "/hello"
CONNECTIONS = 32
ASKED_RATE = 0.85
ASKED_P99 = 1.5


def rest(bench: Bench) -> Result:
    """Both in turn, several rounds; medians, and medians of the pairs' ratios."""
    header = ["server", "requests/s", "p50 µs", "p99 µs", "CPU µs/request"]
    result = Result("rest", "A FastAPI route, one process, 32 connections", header)
    if not bench.par:
        return result
    seen: dict[str, list[Load]] = defaultdict(list)
    for number in range(1, bench.plan.rounds + 1):
        for name, serving in (("uvicorn", _uvicorn()), ("PAR", _par(bench.par))):
            with serving as (server, path):
                load = wrk(server, path, "", CONNECTIONS, bench.plan.seconds, bench.plan.warm_up)
            seen[name].append(load)
            bench.say(f"rest {number}/{bench.plan.rounds} {name}: {load.rate:,.0f}/s")
    middle = {name: median_load(loads) for name, loads in seen.items()}
    for name, load in middle.items():
        times = [f"{value:,.0f}" for value in (load.p50, load.p99)]
        result.lines.append([name, f"{load.rate:,.0f}", *times, f"{load.cpu_us:,.1f}"])
    pairs = list(zip(seen["PAR"], seen["uvicorn"], strict=True))
    rates = [par.rate / alone.rate for par, alone in pairs]
    slow = [par.p99 / alone.p99 for par, alone in pairs]
    result.verdicts = [
        no_errors("every route answered", sum(load.errors for load in middle.values())),
        at_least(
            "requests/s, PAR ÷ uvicorn alone, median of pairs", statistics.median(rates), ASKED_RATE, " ×"
        ),
        at_most("p99, PAR ÷ uvicorn alone, median of pairs", statistics.median(slow), ASKED_P99, " ×"),
    ]
    result.raw = {
        "rounds": {name: [asdict(load) for load in loads] for name, loads in seen.items()},
        "rates": rates,
        "p99": slow,
    }
    return result


@contextmanager
def _par(par: Par) -> Iterator[tuple[Server, str]]:
    with par.start(AGENT) as running:
        yield running.server, f"/agents/{AGENT}{PATH}"


@contextmanager
def _uvicorn() -> Iterator[tuple[Server, str]]:
    binaries = tools.environment(AGENT, AGENTS)
    (port,) = free_ports(1)
    command = [str(binaries / "uvicorn"), "--port", str(port), "--no-access-log", "--log-level", "warning"]
    command += ["--loop", "uvloop", "--http", "httptools", "web:app"]
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        log = Path(scratch) / "log"
        env = {"PYTHONDONTWRITEBYTECODE": "1"}
        with start("uvicorn", port, command, AGENTS / AGENT, env, log) as server:
            server.wait(lambda: ask(port, get(PATH), 5.0).status == 200)
            yield server, PATH
