"""What an agent can know about the call that it serves.

Enters: the frame of the running call, set by the worker. Leaves: `current()`, and the `Context` that handlers
with a parameter named `context` receive. Nothing is parsed before somebody asks.
"""

from __future__ import annotations

import json
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable

from pixell_runtime.credit import Credit
from pixell_runtime.frames import Frame
from pixell_runtime.spans import Kept, Span, Unkept, span

if TYPE_CHECKING:
    from collections.abc import Mapping


class Session:
    """A name that calls have in common. `state` is kept between them if the package's manifest has a session mode;
    without one it is empty for every call."""

    __slots__ = ("id", "kept", "state")

    def __init__(self, ident: str, state: dict[str, Any], *, kept: bool = True) -> None:
        self.id = ident
        self.state = state
        #: Whether later calls find the state.
        self.kept = kept


class Context:
    """One call, as its handler sees it."""

    __slots__ = (
        "agent_id",
        "authorization",
        "caller",
        "deadline",
        "request_id",
        "session",
        "traceparent",
        "tracestate",
        "version",
    )

    def __init__(
        self,
        request_id: str,
        agent_id: str,
        version: str,
        *,
        session: Session | None = None,
        caller: dict[str, Any] | None = None,
        deadline: float | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        authorization: str | None = None,
    ) -> None:
        self.request_id = request_id
        self.agent_id = agent_id
        self.version = version
        self.session = session
        #: Who called, as the gateway knows them; None without identity.
        self.caller = caller
        #: When the call must have ended, on the clock of `time.monotonic()`; None without a deadline.
        self.deadline = deadline
        #: The trace of the call, and where in it: for the headers of requests that the handler makes (W3C Trace Context).
        self.traceparent = traceparent
        self.tracestate = tracestate
        #: The caller's `Authorization`; None unless the manifest says `forward_authorization: true`.
        self.authorization = authorization

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, 0.0 after it; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())

    def span(self, name: str, attributes: Mapping[str, Any] | None = None) -> Span | Unkept:
        """A span of the call that runs, for `with`; `pixell_runtime.context.span` is the same."""
        return span(name, attributes)


class Call:
    """One outstanding call of a worker that serves several at once."""

    __slots__ = (
        "begun",
        "cancelled",
        "credit",
        "entered",
        "expired",
        "frame",
        "granted",
        "reported",
        "spans",
        "streams",
        "task",
        "timer",
        "usage",
    )

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        #: Monotonic nanoseconds; 0 before its handler began.
        self.begun = 0
        #: Whether its task has taken a step.
        self.entered = False
        self.cancelled = False
        self.expired = False
        #: What its items may be sent by, as soon as there are any.
        self.credit: Credit | None = None
        #: What waits on the loop for more of it.
        self.granted: Any = None
        #: Whether an item was sent: its deadline is for the first one.
        self.streams = False
        self.task: Any = None
        self.timer: Any = None
        self.usage: dict[str, dict[str, Any]] = {}
        #: Of which call its sums were told last, and when: monotonic nanoseconds.
        self.reported = (0, 0)
        self.spans = Kept()


class Slot:
    """The one running call of a worker that serves one at a time. Cheaper than a context variable."""

    __slots__ = ("cancelled", "credit", "frame", "reported", "spans", "usage")

    def __init__(self) -> None:
        self.frame: Frame | None = None
        #: Ids of calls whose callers have left, from the one that runs on. The monitor adds to it, and the loop takes
        #: out what is over.
        self.cancelled: set[int] = set()
        #: The call that has sent items last, and what it may send them by.
        self.credit: tuple[int, Credit] = (0, Credit())
        self.usage: dict[str, dict[str, Any]] = {}
        self.reported = (0, 0)
        self.spans = Kept()


class Identity:
    """Which package this process serves. Set once, when the worker starts."""

    package = ""
    exports: tuple[str, ...] = ()


SLOT = Slot()
CALL: ContextVar[Call | None] = ContextVar("pixell_runtime_call", default=None)

# By par's number of the session, which is never used again: a client's id may be, for another session of somebody
# else. Kept until par says FORGET, or the worker ends.
_states: dict[int, dict[str, Any]] = {}


def forget(number: int) -> None:
    """The session is over. A call that still runs in it keeps what it holds."""
    _states.pop(number, None)


def current() -> Context | None:
    """The context of the call that runs here; None outside of a call."""
    call = CALL.get()
    frame = call.frame if call is not None else SLOT.frame
    return None if frame is None else _read(frame)


def abandonment() -> Callable[[], bool]:
    """Whether the caller of the call that runs here has left: a function that every thread may ask."""
    call = CALL.get()
    if call is not None:
        return lambda: call.cancelled
    ident = SLOT.frame[2] if SLOT.frame is not None else 0
    return lambda: ident in SLOT.cancelled


def _read(frame: Frame) -> Context:
    _, _, _, index, limit, meta, _, received = frame
    said: dict[str, Any] = json.loads(meta) if meta else {}
    version = Identity.package.partition("@")[2]
    agent_id = said.get("agent_id")
    if not agent_id:
        export = Identity.exports[index] if index < len(Identity.exports) else ""
        agent_id = f"{Identity.package}/{export}" if export else Identity.package
    named = said.get("session")
    session = None
    if named:
        number = named.get("key")
        kept = number is not None
        session = Session(str(named["id"]), _states.setdefault(number, {}) if kept else {}, kept=kept)
    return Context(
        str(said.get("request_id", "")),
        agent_id,
        version,
        session=session,
        caller=said.get("caller"),
        deadline=(received / 1e9 + limit / 1e3) if limit else None,
        traceparent=said.get("traceparent"),
        tracestate=said.get("tracestate"),
        authorization=said.get("authorization"),
    )
