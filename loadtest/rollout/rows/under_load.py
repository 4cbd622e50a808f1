"""Rollouts under half of the load that saturates the machine: does a caller feel them?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise

from bench.generators import Load
from bench.plan import Result, Verdict, at_most, no_errors

from .. import load, steps
from ..caller import Seen, failures
from ..load import HTTP_1, HTTP_2, Client, Running
from ..plan import Trial
from ..stage import NAME, PATH, Stage, stage

SHARE = 0.5
ASKED_GROWTH = 2.0
ASKED_FLOOR_MS = 10.0
# A caller that looks which release answers; its share of the load is nothing.
LOOK_EVERY_SECONDS = 0.01
LEAD_SECONDS = 1.0


def under_load(trial: Trial) -> Result:
    """Rollouts follow each other without a pause: every call of `during` meets one."""
    header = ["clients", "load", "requests", "failed", "requests/s", "p50 ms", "p99 ms", "p99.9 ms"]
    result = Result("under_load", f"{trial.plan.under_load} rollouts under half the saturation rate", header)
    with stage(trial) as made:
        server = made.host.server
        both = load.speaks_http_2(made.host.port)
        clients = [HTTP_1, HTTP_2] if both else [HTTP_1]
        load.together(server, PATH, clients, 1)
        full = load.together(server, PATH, clients, trial.plan.saturation)
        rates = [each.rate * SHARE for each in full]
        trial.say(f"under_load: saturation {sum(each.rate for each in full):,.0f}/s")
        steady = _beside(made, clients, rates, lambda: time.sleep(trial.plan.steady))
        rollouts = _Rollouts(made, trial.plan.under_load)
        during = _beside(made, clients, rates, rollouts.run)
        receipts = made.host.receipts(NAME)
    for name, loads in (("saturation", full), ("steady", steady), ("during", during)):
        for client, seen in zip(clients, loads, strict=True):
            result.lines.append(_line(client.title, name, seen))
    watched = rollouts.seen
    result.verdicts = [
        *_verdicts(clients, steady, during),
        no_errors("a caller that also reads the answers", failures(watched)),
        Verdict(
            "answers of an older release after a newer one",
            "0",
            str(_steps_back(watched)),
            _steps_back(watched) == 0,
        ),
    ]
    if not both:
        result.verdicts.append(Verdict("HTTP/2 clients", "0 errors", "the port speaks HTTP/1.1 only", None))
        result.notes.append("The port does not speak HTTP/2 without TLS: all load is HTTP/1.1.")
    result.notes.append(
        f"One rollout takes {statistics.median(rollouts.seconds):.2f} s under this load, "
        f"{max(rollouts.seconds):.2f} s at most. {steps.sentence(receipts)}"
    )
    result.raw = {
        "full": [asdict(each) for each in full],
        "steady": [asdict(each) for each in steady],
        "during": [asdict(each) for each in during],
        "rollout_seconds": rollouts.seconds,
        "receipts": receipts,
    }
    return result


class _Rollouts:
    """New releases one after another, and what a caller saw meanwhile."""

    def __init__(self, made: Stage, count: int) -> None:
        self.seconds: list[float] = []
        self.seen: list[Seen] = []
        self._made = made
        self._count = count

    def run(self) -> None:
        with self._made.watch(LOOK_EVERY_SECONDS) as watch:
            for release in range(1, self._count + 1):
                self._made.publish(release)
                begun = time.perf_counter()
                self._made.bring()
                self.seconds.append(time.perf_counter() - begun)
                if release % 10 == 0:
                    self._made.trial.say(f"under_load: {release} of {self._count} rollouts")
            watch.settle(self._count, 30.0)
        self.seen = watch.seen


def _beside(
    made: Stage, clients: Sequence[Client], rates: Sequence[float], work: Callable[[], object]
) -> list[Load]:
    """What the clients saw from a moment before `work` to its end."""
    running = [
        Running(made.host.server, PATH, client, rate) for client, rate in zip(clients, rates, strict=True)
    ]
    try:
        time.sleep(LEAD_SECONDS)
        work()
        return [each.end() for each in running]
    finally:
        for each in running:
            each.cancel()


def _verdicts(clients: Sequence[Client], steady: Sequence[Load], during: Sequence[Load]) -> list[Verdict]:
    verdicts = []
    for client, before, seen in zip(clients, steady, during, strict=True):
        asked = max(ASKED_GROWTH * before.p99 / 1000, ASKED_FLOOR_MS)
        verdicts += [
            no_errors(f"{client.title}: {seen.requests:,} requests during rollouts", seen.errors),
            at_most(f"{client.title}: p99 during rollouts", seen.p99 / 1000, round(asked, 2), " ms", 2),
        ]
    return verdicts


def _line(client: str, name: str, seen: Load) -> list[str]:
    times = [f"{value / 1000:,.2f}" for value in (seen.p50, seen.p99, seen.p999)]
    return [client, name, f"{seen.requests:,}", str(seen.errors), f"{seen.rate:,.0f}", *times]


def _steps_back(seen: Sequence[Seen]) -> int:
    """How often one connection was answered by an older release than before."""
    releases = [each.release for each in seen if each.status == 200]
    return sum(now < before for before, now in pairwise(releases))
