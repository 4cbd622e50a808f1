"""The items of generators.

Enters: items, one by one. Leaves: one ITEM frame each, while there is credit for them (`Sent`), or one JSON
array, if the caller takes a result only as a whole (`Collected`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Callable, Optional, Protocol

from pixell_runtime.channel import Channel
from pixell_runtime.credit import Credit
from pixell_runtime.file import About
from pixell_runtime.frames import END, ITEM, LIST, MAX_BODY, OCTETS, PIECES, RESULT, STREAM, Frame
from pixell_runtime.places import locate
from pixell_runtime.results import encode
from pixell_runtime.told import Told


class ItemRefused(Exception):
    """An item cannot become JSON."""

    def __init__(self, place: str, message: str, cause: type) -> None:
        super().__init__(message)
        self.place = place
        self.cause = cause


class StreamCancelled(Exception):
    """The caller has left."""


#: Kind, flags and payload of the frame that ends a call, and what is said of bytes.
Ending = tuple[int, int, bytes, Optional[About]]


class Sink(Protocol):
    """Where the items of one call go."""

    @property
    def spent(self) -> bool:
        """Whether `push` would wait."""

    @property
    def sends(self) -> bool:
        """Whether items are on their way before the call is over."""

    def push(self, item: Any) -> None:
        """Takes one item. Raises `StreamCancelled`, and `ItemRefused` for what cannot be sent."""

    def ending(self) -> Ending:
        """What is said behind the last item."""


def _is_octets(item: Any) -> bool:
    return isinstance(item, (bytes, bytearray, memoryview))


def _octets(item: Any, number: int) -> bytes:
    if not _is_octets(item):
        message = f"{type(item).__name__} among items that are bytes"
        raise ItemRefused(f"/{number}", message, TypeError)
    return bytes(item)


def _json(item: Any, number: int) -> bytes:
    """At once: the generator may change the object afterwards."""
    try:
        return "".join(encode(item, 0)).encode()
    except Exception as error:
        fault = locate(item, error)
        raise ItemRefused(f"/{number}{fault.place}", fault.message, type(error)) from error


class Collected:
    """Keeps the items."""

    __slots__ = ("_cancelled", "_items", "_size")

    spent = False
    sends = False

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._items: list[bytes] = []
        self._size = 2
        self._cancelled = cancelled

    def push(self, item: Any) -> None:
        """Encodes and keeps."""
        if self._cancelled():
            raise StreamCancelled
        encoded = _json(item, len(self._items))
        self._size += len(encoded) + 1
        if self._size > MAX_BODY:
            message = f"the items are more than {MAX_BODY} bytes"
            raise ItemRefused(f"/{len(self._items)}", message, ValueError)
        self._items.append(encoded)

    def ending(self) -> Ending:
        """All of them as a JSON array."""
        return RESULT, LIST, b"[" + b",".join(self._items) + b"]", None


class Gathered:
    """Keeps the pieces of a file, for a caller that takes a result only as a whole."""

    __slots__ = ("_about", "_cancelled", "_pieces", "_size")

    spent = False
    sends = False

    def __init__(self, about: About, cancelled: Callable[[], bool]) -> None:
        self._about = about
        self._pieces: list[bytes] = []
        self._size = 0
        self._cancelled = cancelled

    def push(self, item: Any) -> None:
        """Keeps."""
        if self._cancelled():
            raise StreamCancelled
        piece = _octets(item, len(self._pieces))
        self._size += len(piece)
        size = max(self._size, self._about.get("length", 0))
        if size > MAX_BODY:
            message = f"the file has more than the {MAX_BODY} bytes that fit into one answer"
            raise ItemRefused("", message, ValueError)
        self._pieces.append(piece)

    def ending(self) -> Ending:
        """All of it."""
        return RESULT, OCTETS, b"".join(self._pieces), self._about


class Sent:
    """Sends the items. `push` blocks while there is no credit: who may not be blocked looks at `spent` before."""

    __slots__ = ("_about", "_call", "_cancelled", "_channel", "_count", "_credit", "_octets")

    sends = True

    def __init__(
        self,
        channel: Channel,
        call: int,
        credit: Credit,
        cancelled: Callable[[], bool],
        *,
        octets: bool,
        about: About | None = None,
    ) -> None:
        """`octets`: the items are bytes; `about`: what is said of them."""
        self._about = b"" if about is None else json.dumps(about, separators=(",", ":")).encode()
        self._channel = channel
        self._call = call
        self._credit = credit
        self._cancelled = cancelled
        self._octets = octets
        self._count = 0

    @property
    def spent(self) -> bool:
        """Whether there is no credit."""
        return self._credit.spent

    def push(self, item: Any) -> None:
        """Encodes and sends."""
        if self._octets:
            body, flags = _octets(item, self._count), OCTETS
        else:
            body, flags = _json(item, self._count), 0
        if len(body) > MAX_BODY:
            message = f"the item has {len(body)} bytes, more than {MAX_BODY}"
            raise ItemRefused(f"/{self._count}", message, ValueError)
        if self._cancelled() or not self._credit.take(len(self._about) + len(body)):
            raise StreamCancelled
        self._channel.add(ITEM, flags, self._call, self._count & 0xFFFFFFFF, self._about, body)
        self._about = b""
        self._channel.flush()
        self._count += 1

    def ending(self) -> Ending:
        """Nothing more."""
        return END, 0, b"", None


class Either:
    """Sends items that are bytes and keeps others: the first one decides."""

    __slots__ = ("_keep", "_send", "_sink")

    def __init__(self, send: Callable[[], Sink], keep: Callable[[], Sink]) -> None:
        self._send = send
        self._keep = keep
        self._sink: Sink | None = None

    @property
    def spent(self) -> bool:
        """Whether `push` would wait."""
        return self._sink is not None and self._sink.spent

    @property
    def sends(self) -> bool:
        """Whether they are bytes; not known before the first one."""
        return self._sink is not None and self._sink.sends

    def push(self, item: Any) -> None:
        """Takes one item."""
        if self._sink is None:
            self._sink = self._send() if _is_octets(item) else self._keep()
        self._sink.push(item)

    def ending(self) -> Ending:
        """What is said behind the last item; without any, all is kept."""
        return (self._sink or self._keep()).ending()


def sink(
    frame: Frame, channel: Channel, credit: Credit, cancelled: Callable[[], bool], about: About | None
) -> Sink:
    """Where the items of a call go, as its frame says. `about`: they are the pieces of a file."""
    flags, call = frame[1], frame[2]
    if about is not None:
        if flags & PIECES:
            return Sent(channel, call, credit, cancelled, octets=True, about=about)
        return Gathered(about, cancelled)
    if flags & STREAM:
        return Sent(channel, call, credit, cancelled, octets=False)
    if flags & PIECES:
        return Either(
            lambda: Sent(channel, call, credit, cancelled, octets=True), lambda: Collected(cancelled)
        )
    return Collected(cancelled)


def drain(sink: Sink, items: Iterator[Any] | Told) -> None:
    """Gives all items to a sink, and closes a generator in any case."""
    if isinstance(items, Told):
        items.run(sink.push)
        return
    try:
        for item in items:
            sink.push(item)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


async def drain_async(sink: Sink, items: AsyncIterator[Any], pace: Callable[[Sink], Awaitable[None]]) -> None:
    """The same on a loop, which may not be blocked: `pace` is awaited before every item."""
    try:
        async for item in items:
            await pace(sink)
            sink.push(item)
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def stepwise(items: Iterator[Any]) -> AsyncIterator[Any]:
    """A plain generator for who takes async ones."""
    try:
        for item in items:
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
