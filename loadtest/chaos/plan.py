"""Which faults happen when: a pure function of a seed and a length, so that a seed that fails fails again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to PAR, or to somebody on whom it depends."""

    WORKER_KILL = "worker_kill"
    WORKER_STOP = "worker_stop"
    WORKER_MEMORY = "worker_memory"
    TEMPLATE_KILL = "template_kill"
    TEMPLATE_STOP = "template_stop"
    PAR_KILL = "par_kill"
    PAR_STOP = "par_stop"
    PAR_RESTART = "par_restart"
    PAR_MEMORY = "par_memory"
    DISK_FULL = "disk_full"
    DESCRIPTORS = "descriptors"
    CONNECTIONS = "connections"
    S3 = "s3"
    ISSUER = "issuer"
    WEBHOOK = "webhook"
    BILLING = "billing"
    CLOCK = "clock"
    RELEASE_GOOD = "release_good"
    RELEASE_IMPORT = "release_import"
    RELEASE_CRASH = "release_crash"
    RELEASE_HANG = "release_hang"
    RELEASE_HEALTH = "release_health"
    RELEASE_SIGNATURE = "release_signature"
    RELEASE_DIGEST = "release_digest"
    RELEASE_WORSE = "release_worse"


class Mode(StrEnum):
    """How an end is broken."""

    ERROR = "error"
    HANG = "hang"
    RESET = "reset"
    SLOW = "slow"
    REFUSED = "refused"


ENDS = (Kind.S3, Kind.ISSUER, Kind.WEBHOOK, Kind.BILLING)
RELEASES = tuple(kind for kind in Kind if kind.startswith("release_"))
BAD_RELEASES = tuple(kind for kind in RELEASES if kind is not Kind.RELEASE_GOOD)
# After these another process of PAR serves, or may: what it has leaked until then is not seen any more.
ENDS_PAR = (Kind.PAR_KILL, Kind.PAR_RESTART, Kind.PAR_MEMORY)

# How long PAR has after the last fault until nothing of it may be felt.
RECOVERY = 5.0
# Between an episode and the next: recovery, and some time in which that shows.
CALM = (1.5, 3.0)
WARM_UP = 3.0
# Of the run, from the end: the last process of PAR lives at least so long.
LAST_LIFE = 0.3
MOST_AT_ONCE = 3
# Within so many seconds the faults of an episode begin.
SPREAD = 2.0

# How long each lasts, in seconds; a kill is a moment.
LASTS: dict[Kind, tuple[float, float]] = {
    Kind.WORKER_KILL: (0.0, 0.0),
    Kind.WORKER_STOP: (0.5, 3.0),
    Kind.WORKER_MEMORY: (1.0, 3.0),
    Kind.TEMPLATE_KILL: (0.0, 0.0),
    Kind.TEMPLATE_STOP: (0.5, 3.0),
    Kind.PAR_KILL: (0.0, 0.0),
    Kind.PAR_STOP: (0.5, 3.0),
    Kind.PAR_RESTART: (0.0, 0.0),
    Kind.PAR_MEMORY: (1.0, 2.0),
    Kind.DISK_FULL: (2.0, 4.0),
    Kind.DESCRIPTORS: (1.0, 3.0),
    Kind.CONNECTIONS: (1.0, 3.0),
    Kind.S3: (2.0, 6.0),
    Kind.ISSUER: (2.0, 6.0),
    Kind.WEBHOOK: (2.0, 6.0),
    Kind.BILLING: (2.0, 6.0),
    Kind.CLOCK: (2.0, 4.0),
    # From the publication on, for as long as blue and green may both be met.
    **dict.fromkeys(RELEASES, (4.0, 6.0)),
}
# Backwards and forwards, in seconds; far less than tokens live.
CLOCKS = (-5400, -600, -90, 90, 600, 5400)
# How often each kind is in the deck; what is not named: once.
TIMES = {Kind.RELEASE_GOOD: 3, Kind.WORKER_KILL: 2, Kind.PAR_KILL: 2, Kind.CLOCK: 2, Kind.S3: 2}


@dataclass(frozen=True)
class Fault:
    """One fault: when it begins and ends (seconds of the run), and whom it meets."""

    number: int
    kind: Kind
    at: float
    seconds: float
    # Of those that there are in the order of their age: this number, modulo how many they are.
    victim: int
    # The mode of an end, or the seconds by which a clock is wrong.
    detail: str = ""

    @property
    def end(self) -> float:
        """When it is taken back."""
        return self.at + self.seconds

    def __str__(self) -> str:
        what = f"{self.kind} {self.detail}".strip()
        return f"{self.at:7.2f} s  {what}, for {self.seconds:.1f} s, victim {self.victim}"


def plan(seed: int, seconds: float, without: Sequence[Kind] = ()) -> list[Fault]:
    """Episodes of one to three faults, each followed by a calm; in the order of their beginnings.

    `without`: what this machine cannot do. Leaving something out changes the rest of the plan, so it is told with it.
    """
    dice = random.Random(seed)
    kinds = [kind for kind in Kind if kind not in without]
    if not kinds:
        return []
    early = _Deck(dice, kinds)
    # Unless there is nothing else.
    late = _Deck(dice, [kind for kind in kinds if kind not in ENDS_PAR] or kinds)
    faults: list[Fault] = []
    at = WARM_UP
    while True:
        deck = early if at < seconds * (1 - LAST_LIFE) else late
        episode = _episode(dice, deck, at, len(faults))
        over = max(fault.end for fault in episode) + RECOVERY
        if over > seconds:
            return sorted(faults, key=lambda fault: (fault.at, fault.number))
        faults += episode
        at = over + dice.uniform(*CALM)


def episodes(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Faults between which there was no calm belong together."""
    found: list[list[Fault]] = []
    for fault in sorted(faults, key=lambda fault: fault.at):
        if found and fault.at < max(other.end for other in found[-1]) + RECOVERY:
            found[-1].append(fault)
        else:
            found.append([fault])
    return found


class _Deck:
    """Every kind in turn, shuffled anew each time: a run of some minutes has all of them."""

    def __init__(self, dice: random.Random, kinds: Sequence[Kind]) -> None:
        self._dice = dice
        self._cards = [kind for kind in kinds for _ in range(TIMES.get(kind, 1))]
        self._pile: list[Kind] = []

    def draw(self, beside: Sequence[Kind]) -> Kind | None:
        """The first card that goes with these; None: no card does."""
        for _ in range(2):
            for place, kind in enumerate(self._pile):
                if _fits(kind, beside):
                    return self._pile.pop(place)
            fresh = list(self._cards)
            self._dice.shuffle(fresh)
            self._pile += fresh
        return None


def _fits(kind: Kind, beside: Sequence[Kind]) -> bool:
    """Two releases at once would be one: the index names the last."""
    return kind not in beside and not (kind in RELEASES and set(beside) & set(RELEASES))


def _episode(dice: random.Random, deck: _Deck, at: float, number: int) -> list[Fault]:
    kinds: list[Kind] = []
    for _ in range(dice.randint(1, MOST_AT_ONCE)):
        if kind := deck.draw(kinds):
            kinds.append(kind)
    return [_fault(dice, kind, at, number + place) for place, kind in enumerate(kinds)]


def _fault(dice: random.Random, kind: Kind, at: float, number: int) -> Fault:
    begin = round(at + dice.uniform(0.0, SPREAD), 2)
    lasts = round(dice.uniform(*LASTS[kind]), 2)
    detail = ""
    if kind in ENDS:
        detail = dice.choice(list(Mode)).value
    elif kind is Kind.CLOCK:
        detail = f"{dice.choice(CLOCKS):+d}"
    return Fault(number, kind, begin, lasts, dice.randrange(1000), detail)
