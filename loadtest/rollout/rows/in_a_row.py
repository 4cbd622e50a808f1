"""Rollouts without end: what is left behind by each of them?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from bench import process
from bench.plan import Result, Verdict, at_most, no_errors

from ..caller import Caller
from ..host import Host, descriptors, disk, threads
from ..plan import Trial
from ..stage import PATH, Stage, stage

FIRST_LOOK = 10
# One more than serve and wait parked at most (one, and two parked): the next is never still in memory.
RELEASES = 4
# Asked is "where it was". But a gateway keeps its last log lines (2,000 by default, of half a kilobyte) and
# receipts, and an allocator its pages; twice as much would hide a leak of 16 KB per rollout.
GATEWAY_MB = 8.0
# Every process's share of pages in common moves by as much from look to look.
TREE_MB = 15.0
# Sockets of callers and of a poll that is just on its way.
DESCRIPTORS = 5
# Receipts and state of the last rollouts; a store that keeps a copy per rollout takes far more.
DISK_MB = 4.0


@dataclass(frozen=True)
class _Look:
    """What a PAR holds at one moment."""

    gateway_mb: float
    tree_mb: float
    processes: int
    threads: int
    descriptors: int
    disk_mb: float
    files: int


def in_a_row(trial: Trial) -> Result:
    """The same few releases in turn, one call after each rollout."""
    count = trial.plan.in_a_row
    header = [
        "after",
        "gateway PSS MB",
        "all PSS MB",
        "processes",
        "threads",
        "descriptors",
        "disk MB",
        "files",
    ]
    result = Result("in_a_row", f"{count} rollouts in a row, {RELEASES} releases in turn", header)
    looks: dict[int, _Look] = {}
    wrong = 0
    begun = time.monotonic()
    with stage(trial) as made:
        for number in range(1, count + 1):
            wrong += not _turn(made, number % RELEASES)
            if number in (FIRST_LOOK, count // 2, count):
                looks[number] = _look(made.host)
                trial.say(f"in_a_row: {number} of {count}, {time.monotonic() - begun:.0f} s")
    for number, look in looks.items():
        result.lines.append([f"{number} rollouts", *_shown(look)])
    first, last = looks[FIRST_LOOK], looks[count]
    result.verdicts = [
        no_errors("a call after each rollout is answered by the new release", wrong),
        at_most("growth of the gateway's PSS", last.gateway_mb - first.gateway_mb, GATEWAY_MB, " MB"),
        at_most("growth of all processes' PSS", last.tree_mb - first.tree_mb, TREE_MB, " MB"),
        Verdict("processes", f"≤ {first.processes}", str(last.processes), last.processes <= first.processes),
        at_most("growth of descriptors", last.descriptors - first.descriptors, DESCRIPTORS, "", 0),
        at_most("growth on disk", last.disk_mb - first.disk_mb, DISK_MB, " MB"),
    ]
    result.raw = {str(number): asdict(look) for number, look in looks.items()}
    return result


def _turn(made: Stage, release: int) -> bool:
    """Bring in a release; whether a new caller meets it."""
    made.publish(release)
    made.bring()
    caller = Caller(made.host.port, PATH)
    try:
        return caller.call().release == release
    finally:
        caller.close()


def _look(host: Host) -> _Look:
    host.calm()
    pid = host.server.pid
    megabytes, files = disk(host.data)
    return _Look(
        gateway_mb=process.pss_mb(pid),
        tree_mb=process.tree_pss_mb(pid),
        processes=len(process.tree(pid)),
        threads=threads(pid),
        descriptors=descriptors(pid),
        disk_mb=megabytes,
        files=files,
    )


def _shown(look: _Look) -> list[str]:
    memory = [f"{look.gateway_mb:.1f}", f"{look.tree_mb:.1f}"]
    counts = [str(look.processes), str(look.threads), str(look.descriptors)]
    return [*memory, *counts, f"{look.disk_mb:.1f}", str(look.files)]
