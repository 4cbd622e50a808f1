"""What it costs to see every call: access lines, metering and a sample of traces, added one after the other to an echo."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace

from ..generators import Load, wrk
from ..par import Par
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_most, median_load, no_errors
from ..server import Server
from ..spans import receiver, traced

CONNECTIONS = 32
ASKED_SHARE = 0.10
#: Loads of a second each: what else the machine does changes more slowly.
SECONDS = 1
TURNS = 8


def observed(bench: Bench) -> Result:
    """All of them run at once and are loaded in turn, forwards and backwards; medians of what each costs more."""
    header = ["PAR", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "more"]
    result = Result("observed", "Echo, and what is told of it", header)
    if not bench.par:
        return result
    seen: dict[str, list[Load]] = defaultdict(list)
    with receiver() as port:
        modes = _modes(bench.par, port)
        for number in range(1, bench.plan.rounds + 1):
            # Where its memory lies makes a process faster or slower for its whole life: each round has new ones.
            with _started(modes) as servers:
                for turn in range(TURNS):
                    for mode in reversed(modes) if turn % 2 else modes:
                        load = _load(servers[mode], bench.par.path("echo"), 0 if turn else bench.plan.warm_up)
                        seen[mode].append(load)
            bench.say(f"observed {number}/{bench.plan.rounds}: " + ", ".join(_shares(seen)))
    for mode, loads in seen.items():
        load = median_load(loads)
        figures = [f"{value:,.0f}" for value in (load.rate, load.p50, load.p99)]
        result.lines.append([mode, *figures, f"{load.cpu_us:,.2f}", f"{_more(seen, mode):+.1%}"])
    share = _more(seen, list(seen)[-1])
    result.notes = ["Metrics are counted in all of them: they cannot be turned off."]
    result.verdicts = [
        no_errors("every echo answered", sum(load.errors for loads in seen.values() for load in loads)),
        at_most("CPU per call, all of it against nothing", share * 100, ASKED_SHARE * 100, " % more"),
    ]
    result.raw = {"rounds": {mode: [asdict(load) for load in loads] for mode, loads in seen.items()}}
    return result


def _modes(par: Par, port: int) -> dict[str, Par]:
    """Each with what the one before it has, and one thing more."""
    unmetered = replace(par, config={**par.config, "metering": {"enabled": False}})
    silent = replace(unmetered, config={**unmetered.config, "log": {"level": "warn"}})
    return {
        "nothing": silent,
        "access lines": unmetered,
        "and metering": par,
        "and 1 % of traces": traced(par, port, "0.01"),
    }


@contextmanager
def _started(modes: dict[str, Par]) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        yield {mode: stack.enter_context(par.start("echo")).server for mode, par in modes.items()}


def _load(server: Server, path: str, warm_up: float) -> Load:
    return wrk(server, path, ECHO_TEXT, CONNECTIONS, SECONDS, warm_up)


def _more(seen: dict[str, list[Load]], mode: str) -> float:
    """What a request costs more than with nothing: the median over turns, each of which loads both."""
    turns = zip(seen[mode], seen["nothing"], strict=True)
    return statistics.median(load.cpu_us / nothing.cpu_us - 1 for load, nothing in turns)


def _shares(seen: dict[str, list[Load]]) -> list[str]:
    return [f"{mode} {_more(seen, mode):+.1%}" for mode in seen]
