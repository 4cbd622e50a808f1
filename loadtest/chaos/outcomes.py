"""What a request may be answered, by the faults that were there while it was on its way. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .plan import ENDS_PAR, RECOVERY, Kind


class Ask(StrEnum):
    """Kinds of requests."""

    ADD = "add"
    LATER = "later"
    NESTED = "nested"
    ITEMS = "items"
    COUNT = "count"
    DIGEST = "digest"
    HUNGRY = "hungry"
    FORGED = "forged"
    FORBIDDEN = "forbidden"


# Codes of what never became an answer: the connection was not taken; it ended before a head, or before the end of a
# body; nothing came as long as the client had patience.
REFUSED, CUT, CUT_BODY, SILENT = "refused", "cut", "cut_body", "silent"
UNANSWERED = frozenset({REFUSED, CUT, CUT_BODY, SILENT})
OK = "ok"


@dataclass(frozen=True)
class Window:
    """A fault as it was: from when to when (seconds of the run)."""

    kind: Kind
    begin: float
    end: float

    def meets(self, sent: float, received: float) -> bool:
        """Whether a request that was on its way then may have felt it, or what was left of it."""
        return sent <= self.end + RECOVERY and received >= self.begin


# What is right when nothing is wrong.
ALWAYS: dict[Ask, frozenset[str]] = {
    **{ask: frozenset({OK}) for ask in Ask},
    Ask.FORGED: frozenset({"unauthenticated"}),
    Ask.FORBIDDEN: frozenset({"forbidden"}),
}
# PAR is away, comes back, and mounts its packages again.
AWAY = {REFUSED, CUT, CUT_BODY, "not_ready", "stopping", "session_lost"}
# A worker is not there, or does not go on. Calls that wait for others meet their deadline or find no room.
WITHOUT_A_WORKER = {"worker_crashed", "queue_full", "deadline_exceeded", "session_lost"}

BY_FAULT: dict[Kind, frozenset[str]] = {
    Kind.WORKER_KILL: frozenset(WITHOUT_A_WORKER),
    Kind.WORKER_STOP: frozenset(WITHOUT_A_WORKER),
    Kind.WORKER_MEMORY: frozenset({*WITHOUT_A_WORKER, "agent_error"}),
    Kind.TEMPLATE_KILL: frozenset(WITHOUT_A_WORKER),
    Kind.TEMPLATE_STOP: frozenset(WITHOUT_A_WORKER),
    Kind.PAR_KILL: frozenset(AWAY),
    # Time goes on while nobody looks at it: deadlines have passed when PAR goes on.
    Kind.PAR_STOP: frozenset({*WITHOUT_A_WORKER, CUT, SILENT}),
    # What was asked on a kept connection at the moment of its end; what was taken is answered to its end.
    Kind.PAR_RESTART: frozenset(AWAY - {CUT_BODY}),
    Kind.PAR_MEMORY: frozenset({*AWAY, *WITHOUT_A_WORKER, SILENT}),
    Kind.DISK_FULL: frozenset({"metering_unavailable"}),
    # Neither can a connection be taken, nor a worker be started, nor a file of a form be kept.
    Kind.DESCRIPTORS: frozenset({REFUSED, CUT, SILENT, *WITHOUT_A_WORKER}),
    Kind.CONNECTIONS: frozenset({REFUSED, CUT, SILENT}),
    Kind.S3: frozenset(),
    # Keys are known already.
    Kind.ISSUER: frozenset(),
    Kind.WEBHOOK: frozenset(),
    Kind.BILLING: frozenset(),
    Kind.CLOCK: frozenset(),
    # Sessions end with the version in which they live.
    Kind.RELEASE_GOOD: frozenset({"session_lost"}),
    Kind.RELEASE_IMPORT: frozenset(),
    Kind.RELEASE_CRASH: frozenset(),
    Kind.RELEASE_HANG: frozenset(),
    Kind.RELEASE_HEALTH: frozenset(),
    Kind.RELEASE_SIGNATURE: frozenset(),
    Kind.RELEASE_DIGEST: frozenset(),
    # It serves until its errors are noticed.
    Kind.RELEASE_WORSE: frozenset({"session_lost", "agent_error"}),
}
# Two faults together may do what neither does alone.
TOGETHER: tuple[tuple[frozenset[Kind], Kind, frozenset[str]], ...] = (
    # A PAR that starts anew has no keys yet.
    (frozenset(ENDS_PAR), Kind.ISSUER, frozenset({"identity_unavailable"})),
    # It cannot start before there is room.
    (frozenset(ENDS_PAR), Kind.DISK_FULL, frozenset(AWAY)),
)
# A file of a form has to be kept somewhere until its call is over.
NO_PLACE = (Kind.DISK_FULL, Kind.DESCRIPTORS)
# Who may not call is told so before anything is done: of these they can only get what concerns everybody.
STRANGERS = frozenset({*UNANSWERED, "not_ready", "stopping", "identity_unavailable"})


def active(windows: Iterable[Window], sent: float, received: float) -> frozenset[Kind]:
    """The faults that a request may have felt."""
    return frozenset(window.kind for window in windows if window.meets(sent, received))


def allowed(ask: Ask, faults: frozenset[Kind]) -> frozenset[str]:
    """All codes that are right for such a request while there are these faults."""
    more: set[str] = set()
    for kind in faults:
        more |= BY_FAULT[kind]
    for first, second, codes in TOGETHER:
        if first & faults and second in faults:
            more |= codes
    if ask in (Ask.FORGED, Ask.FORBIDDEN):
        more &= STRANGERS
    elif ask is not Ask.COUNT:
        more.discard("session_lost")
    if ask is Ask.DIGEST and faults & set(NO_PLACE):
        more.add("internal")
    if ask is Ask.NESTED and more:
        # The agent that calls fails with what it was told.
        more.add("agent_error")
    return ALWAYS[ask] | more


# The status that belongs to each code that is allowed anywhere.
STATUS: dict[str, int] = {
    **dict.fromkeys(UNANSWERED, 0),
    OK: 200,
    "unauthenticated": 401,
    "forbidden": 403,
    "session_lost": 410,
    "agent_error": 500,
    "internal": 500,
    "worker_crashed": 502,
    "queue_full": 503,
    "not_ready": 503,
    "stopping": 503,
    "identity_unavailable": 503,
    "metering_unavailable": 503,
    "deadline_exceeded": 504,
}
