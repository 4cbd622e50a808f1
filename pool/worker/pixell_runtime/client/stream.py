"""Streams: items as the agent makes them.

Enters: a reply. Leaves: an iterator. Closed before its end, it ends the agent's generator; what goes out of scope
is closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any

from pixell_runtime.client import blocking, looping
from pixell_runtime.client.items import Items


class Stream(Iterator[Any]):
    """Items one by one. An iterator, and a context manager that closes it."""

    def __init__(self, reply: blocking.Reply) -> None:
        self._reply = reply
        self._items = _items(reply)

    def __next__(self) -> Any:
        return next(self._items)

    def close(self) -> None:
        """No more of them: the agent's generator is closed."""
        self._reply.close()
        self._items.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncStream(AsyncIterator[Any]):
    """The same for async code."""

    def __init__(self, reply: looping.Reply) -> None:
        self._reply = reply
        self._items = _aitems(reply)

    async def __anext__(self) -> Any:
        return await self._items.__anext__()

    async def aclose(self) -> None:
        """No more of them: the agent's generator is closed."""
        self._reply.close()
        # Whoever waits for the next item in another task is told by the end of the connection.
        with contextlib.suppress(RuntimeError):
            await self._items.aclose()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _items(reply: blocking.Reply) -> Generator[Any, None, None]:
    items = Items(reply.head.content_type)
    # The head comes with the first item, which had to be in time. How long the others may take is for the runtime.
    try:
        for piece in reply.pieces(timed=False):
            yield from items.feed(piece)
        yield from items.end()
    finally:
        reply.close()


async def _aitems(reply: looping.Reply) -> AsyncGenerator[Any, None]:
    items = Items(reply.head.content_type)
    try:
        async for piece in reply.pieces(timed=False):
            for item in items.feed(piece):
                yield item
        for item in items.end():
            yield item
    finally:
        reply.close()
