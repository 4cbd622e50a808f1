"""Handlers of several service times: does packing calls on one worker hurt those who wait?"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, replace

from ..generators import Load, wrk
from ..plan import Bench, Result, Subject, Verdict, at_most, median_load

CONNECTIONS = 32
KINDS = {"cpu": "CPU", "sleep": "blocking wait", "asleep": "asynchronous wait"}
COMPARED = ("gunicorn_fastapi", "bare_asgi", "mosec")
ASKED_OF_BEST = 1.5
# Two runs of one arrangement differ by so much here; less cannot be told apart.
NOISE = 1.1
EVEN = {"pool": {"pack_budget": 0}}

Case = tuple[str, int]


def handlers(bench: Bench) -> Result:
    """p99 of PAR against the best peer, and against itself with calls spread evenly."""
    subjects: list[Subject] = [peer for peer in bench.peers if peer.name in COMPARED]
    if bench.par:
        even = replace(bench.par, name="par_even", title="PAR, spread evenly", config=EVEN)
        subjects = [bench.par, even, *subjects]
    seen: dict[Case, dict[str, list[Load]]] = defaultdict(lambda: defaultdict(list))
    for number in range(1, bench.plan.handler_rounds + 1):
        for kind, name in KINDS.items():
            for subject in subjects:
                if subject.offers(kind):
                    _measure(bench, subject, kind, seen)
            bench.say(f"handlers {number}/{bench.plan.handler_rounds} {name}: done")
    return _result(bench, subjects, seen)


def _measure(bench: Bench, subject: Subject, kind: str, seen: dict[Case, dict[str, list[Load]]]) -> None:
    with subject.serve(kind) as server:
        for micros in bench.plan.handler_times:
            body = json.dumps({"us": micros})
            load = wrk(
                server,
                subject.path(kind),
                body,
                CONNECTIONS,
                bench.plan.handler_seconds,
                bench.plan.warm_up,
            )
            seen[kind, micros][subject.name].append(load)


def _result(bench: Bench, subjects: list[Subject], seen: dict[Case, dict[str, list[Load]]]) -> Result:
    title = f"Handlers of known service time, {CONNECTIONS} connections: p99 in ms (requests/s)"
    result = Result("handlers", title, ["handler", *(subject.title for subject in subjects)])
    for (kind, micros), loads in seen.items():
        name = f"{micros / 1000:g} ms {KINDS[kind]}"
        middle = {subject: median_load(each) for subject, each in loads.items()}
        result.lines.append([name, *(_cell(middle.get(subject.name)) for subject in subjects)])
        result.raw[name] = {subject: [asdict(load) for load in each] for subject, each in loads.items()}
        if bench.par:
            result.verdicts += _verdicts(name, middle)
    return result


def _cell(load: Load | None) -> str:
    if load is None:
        return "–"
    if load.failed:
        return f"failed: {load.errors} errors"
    return f"{load.p99 / 1000:,.2f} ({load.rate:,.0f})"


def _verdicts(name: str, middle: dict[str, Load]) -> list[Verdict]:
    own, even = middle["par"], middle["par_even"]
    others = [load.p99 for peer, load in middle.items() if peer in COMPARED and not load.failed]
    compared = [(f"{name}: p99, packed ÷ spread evenly", even.p99, NOISE)]
    if others:
        compared.insert(0, (f"{name}: p99, PAR ÷ best peer", min(others), ASKED_OF_BEST))
    failed = own.failed or even.failed
    return [
        at_most(what, float("nan") if failed else own.p99 / other, asked, " ×", 2)
        for what, other, asked in compared
    ]
