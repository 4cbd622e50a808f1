"""How much is measured, and what every row gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.plan import Result

# How a new release reaches PAR: an index is replaced and `reload` called, or `load` is called with `force`.
By = Literal["index", "load"]


@dataclass(frozen=True)
class Plan:
    """Counts and durations (seconds) of one bench."""

    under_load: int = 100
    on_shared_cores: int = 30
    saturation: int = 6
    steady: int = 20
    publications: int = 10
    reloads: int = 20
    cold_starts: int = 3
    package_mb: int = 30
    packages: int = 100
    polls: int = 10
    in_a_row: int = 1000


# About three minutes: shows that everything runs and where a figure roughly stands, proves nothing.
QUICK = Plan(
    under_load=10,
    on_shared_cores=5,
    saturation=2,
    steady=5,
    publications=3,
    reloads=4,
    cold_starts=1,
    packages=20,
    polls=5,
    in_a_row=40,
)


@dataclass(frozen=True)
class Trial:
    """What a row gets: the binary, how much to measure, and how releases are brought in."""

    binary: Path
    plan: Plan
    by: By

    def say(self, text: str) -> None:
        """One line of progress."""
        print(f"rollout: {text}", flush=True)


Row = Callable[[Trial], Result]


class Unexpected(Exception):
    """PAR answered something with which the row cannot go on."""
