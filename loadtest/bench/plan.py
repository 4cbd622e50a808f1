"""How much is measured, and the words in which a row tells its result."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from .generators import Load
from .par import Par
from .peers import Peer
from .server import Server


@dataclass(frozen=True)
class Plan:
    """Counts and durations (seconds) of one bench."""

    rounds: int = 3
    seconds: int = 3
    warm_up: int = 1
    connections: tuple[int, ...] = (1, 32, 256)
    open_loop: int = 4
    handler_rounds: int = 3
    handler_seconds: int = 2
    handler_times: tuple[int, ...] = (50, 200, 1_000, 10_000)
    mixed: int = 10
    neighbour: int = 6
    forks: int = 20
    crashes: int = 5
    sessions: int = 200


# Under four minutes: shows that everything runs and where a figure roughly stands, proves nothing.
QUICK = Plan(
    rounds=1,
    seconds=1,
    connections=(1, 32),
    open_loop=1,
    handler_rounds=1,
    handler_seconds=1,
    handler_times=(200, 10_000),
    mixed=4,
    neighbour=3,
    forks=8,
    crashes=2,
    sessions=40,
)


class Subject(Protocol):
    """A server that a row compares: PAR in one of its configurations, or a peer."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def offers(self, handler: str) -> bool:
        """Whether it has such a handler."""

    def path(self, handler: str) -> str:
        """Where that handler is called."""

    def serve(self, handler: str) -> AbstractContextManager[Server]:
        """Start it with that handler."""


@dataclass(frozen=True)
class Bench:
    """What a row gets: the plan and the servers chosen on the command line."""

    plan: Plan
    par: Par | None
    peers: tuple[Peer, ...]

    def say(self, text: str) -> None:
        """One line of progress."""
        print(f"bench: {text}", flush=True)


@dataclass(frozen=True)
class Verdict:
    """One promise against its measurement; `met` is None where nothing could be compared."""

    what: str
    asked: str
    measured: str
    met: bool | None


@dataclass
class Result:
    """The result of a row: a table for people, verdicts, and every single measurement for machines."""

    name: str
    title: str
    header: Sequence[str]
    lines: list[Sequence[str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Row = Callable[[Bench], Result]


def median_load(loads: Sequence[Load]) -> Load:
    """The median of every figure for itself; errors add up."""
    return Load(
        rate=statistics.median(load.rate for load in loads),
        p50=statistics.median(load.p50 for load in loads),
        p99=statistics.median(load.p99 for load in loads),
        p999=statistics.median(load.p999 for load in loads),
        requests=sum(load.requests for load in loads),
        errors=sum(load.errors for load in loads),
        cpu_us=statistics.median(load.cpu_us for load in loads),
    )


def at_most(what: str, measured: float, asked: float, unit: str = "", digits: int = 1) -> Verdict:
    """`measured` must not exceed `asked`. What could not be measured (NaN) is not met."""
    known = not math.isnan(measured)
    shown = f"{measured:,.{digits}f}{unit}" if known else "–"
    return Verdict(what, f"≤ {asked:g}{unit}", shown, known and measured <= asked)


def at_least(what: str, measured: float, asked: float, unit: str = "", digits: int = 2) -> Verdict:
    """`measured` must reach `asked`. What could not be measured (NaN) is not met."""
    known = not math.isnan(measured)
    shown = f"{measured:,.{digits}f}{unit}" if known else "–"
    return Verdict(what, f"≥ {asked:g}{unit}", shown, known and measured >= asked)


def no_errors(what: str, errors: int) -> Verdict:
    """Not one call may have failed."""
    return Verdict(what, "0 errors", f"{errors} errors", errors == 0)
