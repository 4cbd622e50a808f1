"""Spans that a handler adds to the trace of its call.

Enters: `span(name, attributes)` as a context manager, as deep as one likes. Leaves: those that are over, in SPANS frames
before the frame that ends the call: with its end, or when the outermost of them has ended, since one whose parent is not
over would be told without it. If the trace is not kept, nothing is made and nothing is sent.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from pixell_runtime.frames import SPANS, TRACED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pixell_runtime.channel import Channel
    from pixell_runtime.frames import Frame

#: Spans of one call; par takes no more.
MAX_SPANS = 128

#: Attributes of one span, and characters of a text.
MAX_ATTRIBUTES = 128
MAX_TEXT = 4096

#: Bytes of one frame.
MAX_BYTES = 256 * 1024

#: How long a call keeps what it could tell, in nanoseconds: spans that end one after the other travel together.
APART = 10_000_000

#: Whole numbers as receivers can hold them.
_LONGEST = 1 << 63


_channel: Channel | None = None


def bind(channel: Channel) -> None:
    """Where spans are told."""
    global _channel
    _channel = channel


class Kept(list[dict[str, Any]]):
    """Spans of one call that are over and not told yet."""

    __slots__ = ("_call", "_count", "_last")

    def __init__(self) -> None:
        super().__init__()
        self._call = 0
        self._count = 0
        self._last = 0

    def has_room(self, call: int, now: int) -> bool:
        """Whether one more of this call is taken; counts it."""
        if self._call != call:
            self._call, self._count, self._last = call, 0, now
        self._count += 1
        return self._count <= MAX_SPANS

    def tell(self, now: int) -> None:
        """Sends them, if enough time has passed since it did."""
        if now - self._last >= APART and _channel is not None and not _channel.forked:
            self._last = now
            send(_channel, self._call, self)


class Span:
    """One of them; open while its block runs."""

    __slots__ = (
        "_attributes",
        "_began",
        "_begin",
        "_frame",
        "_kept",
        "_name",
        "_parent",
        "_token",
        "_trace",
        "id",
    )

    def __init__(self, name: str, attributes: Mapping[str, Any] | None, frame: Frame, kept: Kept) -> None:
        #: 16 hexadecimal digits.
        self.id = os.urandom(8).hex()
        self._name = str(name)[:MAX_TEXT]
        self._attributes: dict[str, Any] = {}
        self._frame = frame
        self._kept = kept
        self._trace = ""
        self._parent: Span | None = None
        self._token: Token[Span | None] | None = None
        self._begin = self._began = 0
        for key, value in (attributes or {}).items():
            self.set(key, value)

    def set(self, key: str, value: Any) -> None:
        """Says something of it: text, numbers, truth, or a list of those. Anything else is told as text."""
        if len(self._attributes) < MAX_ATTRIBUTES or key in self._attributes:
            self._attributes[str(key)[:MAX_TEXT]] = _value(value)

    @property
    def traceparent(self) -> str | None:
        """What to send to others so that their spans lie in this one."""
        if not self._trace:
            told = json.loads(self._frame[5]).get("traceparent") if self._frame[5] else None
            self._trace = str(told or "")
        return f"{self._trace[:36]}{self.id}-01" if self._trace else None

    def __enter__(self) -> Span:
        around = _OPEN.get()
        # What was left open by another call is not around this one.
        self._parent = around if around is not None and around._frame is self._frame else None
        self._token = _OPEN.set(self)
        self._begin = time.time_ns()
        self._began = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = time.monotonic_ns()
        took = ended - self._began
        if self._token is not None:
            try:
                _OPEN.reset(self._token)
            except ValueError:
                # It was opened in another context: a generator that is closed by somebody else.
                _OPEN.set(self._parent)
            self._token = None
        if not _runs(self._frame, self._kept) or not self._kept.has_room(self._frame[2], self._began):
            return
        told: dict[str, Any] = {
            "id": self.id,
            "name": self._name,
            "begin": self._begin,
            "end": self._begin + took,
        }
        if self._parent is not None:
            told["parent"] = self._parent.id
        if self._attributes:
            told["attributes"] = self._attributes
        if error is not None and not isinstance(error, GeneratorExit):
            told["error"] = {"type": type(error).__qualname__, "message": _text(error)}
        self._kept.append(told)
        if self._parent is None:
            self._kept.tell(ended)


class Unkept:
    """What stands in the place of a span whose trace is not kept."""

    __slots__ = ("traceparent",)

    id = ""

    def __init__(self, traceparent: str | None = None) -> None:
        self.traceparent = traceparent

    def set(self, key: str, value: Any) -> None:
        """Nothing."""

    def __enter__(self) -> Unkept:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""


_OPEN: ContextVar[Span | None] = ContextVar("pixell_runtime_span", default=None)
_UNKEPT = Unkept()


def span(name: str, attributes: Mapping[str, Any] | None = None) -> Span | Unkept:
    """A span of the call that runs here, to be used with `with`; also in async code. Spans within it lie below it."""
    frame, kept = _running()
    if frame is None or not frame[1] & TRACED:
        return _UNKEPT
    return Span(name, attributes, frame, kept)


def around(parent: int) -> bytes:
    """The id of the span in which a call of this handler is made; empty if there is none."""
    opened = _OPEN.get()
    return opened.id.encode() if opened is not None and opened._frame[2] == parent else b""


def send(channel: Channel, call: int, kept: Kept) -> None:
    """Sends what a call has kept, as much as fits."""
    told = []
    size = 2
    for one in kept:
        encoded = json.dumps(one, separators=(",", ":"))
        size += len(encoded) + 1
        if size > MAX_BYTES:
            break
        told.append(encoded)
    kept.clear()
    channel.add(SPANS, 0, call, 0, b"", f"[{','.join(told)}]".encode())


def _running() -> tuple[Frame | None, Kept]:
    from pixell_runtime.context import CALL, SLOT

    call = CALL.get()
    return (SLOT.frame, SLOT.spans) if call is None else (call.frame, call.spans)


def _runs(frame: Frame, kept: Kept) -> bool:
    """Whether the call of a span is not over: another one may use the same list by now."""
    from pixell_runtime.context import SLOT

    return kept is not SLOT.spans or SLOT.frame is frame


def _value(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        return value[:MAX_TEXT] if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value) if -_LONGEST <= value < _LONGEST else str(value)[:MAX_TEXT]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [_value(one) for one in value[:MAX_ATTRIBUTES] if not isinstance(one, (list, tuple))]
    return _text(value)


def _text(value: object) -> str:
    """Whatever it is; an object that cannot be text is no reason to fail."""
    try:
        return str(value)[:MAX_TEXT]
    except Exception:
        return f"<{type(value).__qualname__}>"
