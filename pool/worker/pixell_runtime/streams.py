"""The items of generators.

Enters: items, one by one. Leaves: one JSON array, because items are collected. When they are sent one by one,
as `ITEM` frames with credit, that happens here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable

from pixell_runtime.frames import MAX_BODY
from pixell_runtime.places import locate
from pixell_runtime.results import encode


class ItemRefused(Exception):
    """An item cannot become JSON."""

    def __init__(self, place: str, message: str, cause: type) -> None:
        super().__init__(message)
        self.place = place
        self.cause = cause


class StreamCancelled(Exception):
    """The caller has left."""


class Stream:
    """Collects the items of one call."""

    __slots__ = ("_items", "_size", "cancelled")

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._items: list[bytes] = []
        self._size = 2
        self.cancelled = cancelled

    def push(self, item: Any) -> None:
        """Encodes at once: the generator may change the object afterwards."""
        if self.cancelled():
            raise StreamCancelled
        try:
            encoded = "".join(encode(item, 0)).encode()
        except Exception as error:
            fault = locate(item, error)
            place = f"/{len(self._items)}{fault.place}"
            raise ItemRefused(place, fault.message, type(error)) from error
        self._size += len(encoded) + 1
        if self._size > MAX_BODY:
            message = f"the items are more than {MAX_BODY} bytes"
            raise ItemRefused(f"/{len(self._items)}", message, ValueError)
        self._items.append(encoded)

    def take(self, items: Iterator[Any]) -> bytes:
        """All items of a generator, which is closed in any case."""
        try:
            for item in items:
                self.push(item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        return self._join()

    async def take_async(self, items: AsyncIterator[Any]) -> bytes:
        """All items of an async generator, which is closed in any case."""
        try:
            async for item in items:
                self.push(item)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        return self._join()

    def _join(self) -> bytes:
        return b"[" + b",".join(self._items) + b"]"
