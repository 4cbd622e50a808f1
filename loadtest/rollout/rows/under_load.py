"""Rollouts under half of the load that saturates the machine: does a caller feel them?"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from bench import cores
from bench.generators import Load
from bench.plan import Result, Verdict, at_most, no_errors

from .. import load, steps
from ..caller import Seen, failures
from ..host import Receipt
from ..load import HTTP_1, HTTP_2, Client, Running
from ..plan import Trial
from ..stage import NAME, PATH, Stage, stage

SHARE = 0.5
ASKED_GROWTH = 2.0
ASKED_FLOOR_MS = 10.0
# A caller that looks which release answers; its share of the load is nothing.
LOOK_EVERY_SECONDS = 0.01
LEAD_SECONDS = 1.0
SHARED = ", cores shared"
APART = (
    "PAR has one half of the processors, with all that its rollouts need, and its callers have the other. Where they share "
    "them (last rows), a caller waits for its own turn, too."
)


@dataclass(frozen=True)
class Measured:
    """One round: without a limit, at half of that, and with rollouts at that rate."""

    full: Sequence[Load]
    steady: Sequence[Load]
    during: Sequence[Load]
    rollouts: _Rollouts
    receipts: Sequence[Receipt]


def under_load(trial: Trial) -> Result:
    """Rollouts follow each other without a pause: every call of `during` meets one."""
    header = ["clients", "load", "requests", "failed", "requests/s", "p50 ms", "p99 ms", "p99.9 ms"]
    result = Result("under_load", f"{trial.plan.under_load} rollouts under half the saturation rate", header)
    with stage(trial) as made:
        both = load.speaks_http_2(made.host.port)
    clients = [HTTP_1, HTTP_2] if both else [HTTP_1]
    rounds = {"": _measured(trial, clients, trial.plan.under_load, apart=cores.can_be_parted())}
    if cores.can_be_parted():
        rounds[SHARED] = _measured(trial, clients, trial.plan.on_shared_cores, apart=False)
    for where, seen in rounds.items():
        watched = seen.rollouts.seen
        for name, loads in (("saturation", seen.full), ("steady", seen.steady), ("during", seen.during)):
            result.lines += [
                _line(client.title, name + where, one) for client, one in zip(clients, loads, strict=True)
            ]
        result.verdicts += [
            *_verdicts(clients, seen.steady, seen.during, where),
            no_errors(f"a caller that also reads the answers{where}", failures(watched)),
            Verdict(
                f"answers of an older release after a newer one{where}",
                "0",
                str(_steps_back(watched)),
                _steps_back(watched) == 0,
            ),
        ]
        result.notes.append(
            f"One rollout takes {statistics.median(seen.rollouts.seconds):.2f} s under this load{where}, "
            f"{max(seen.rollouts.seconds):.2f} s at most. {steps.sentence(seen.receipts)}"
        )
        result.raw[where.strip(" ,") or "callers apart"] = {
            "full": [asdict(each) for each in seen.full],
            "steady": [asdict(each) for each in seen.steady],
            "during": [asdict(each) for each in seen.during],
            "rollout_seconds": seen.rollouts.seconds,
            "receipts": seen.receipts,
        }
    if cores.can_be_parted():
        result.notes.append(APART)
    if not both:
        result.verdicts.append(Verdict("HTTP/2 clients", "0 errors", "the port speaks HTTP/1.1 only", None))
        result.notes.append("The port does not speak HTTP/2 without TLS: all load is HTTP/1.1.")
    return result


def _measured(trial: Trial, clients: Sequence[Client], count: int, apart: bool) -> Measured:
    # What builds and earlier rows have left to be written would be written meanwhile.
    os.sync()
    with stage(trial, apart=apart) as made:
        made.build(range(1, count + 1))
        server = made.host.server
        load.together(server, PATH, clients, 1)
        full = load.together(server, PATH, clients, trial.plan.saturation)
        rates = [each.rate * SHARE for each in full]
        trial.say(f"under_load: saturation {sum(each.rate for each in full):,.0f}/s")
        steady = _beside(made, clients, rates, lambda: time.sleep(trial.plan.steady))
        rollouts = _Rollouts(made, count)
        during = _beside(made, clients, rates, rollouts.run)
        return Measured(full, steady, during, rollouts, made.host.receipts(NAME))


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


def _verdicts(
    clients: Sequence[Client], steady: Sequence[Load], during: Sequence[Load], where: str
) -> list[Verdict]:
    """Callers who have to wait for a processor themselves say nothing of PAR: then p99 is told, and not judged."""
    verdicts = []
    for client, before, seen in zip(clients, steady, during, strict=True):
        asked = max(ASKED_GROWTH * before.p99 / 1000, ASKED_FLOOR_MS)
        p99 = at_most(
            f"{client.title}: p99 during rollouts{where}", seen.p99 / 1000, round(asked, 2), " ms", 2
        )
        verdicts += [
            no_errors(f"{client.title}: {seen.requests:,} requests during rollouts{where}", seen.errors),
            replace(p99, asked="–", met=None) if where else p99,
        ]
    return verdicts


def _line(client: str, name: str, seen: Load) -> list[str]:
    times = [f"{value / 1000:,.2f}" for value in (seen.p50, seen.p99, seen.p999)]
    return [client, name, f"{seen.requests:,}", str(seen.errors), f"{seen.rate:,.0f}", *times]


def _steps_back(seen: Sequence[Seen]) -> int:
    """How often one connection was answered by an older release than before."""
    releases = [each.release for each in seen if each.status == 200]
    return sum(now < before for before, now in pairwise(releases))
