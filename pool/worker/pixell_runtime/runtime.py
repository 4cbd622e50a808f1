"""Calls from an agent to other agents of the host, private ones included, without a network.

Enters: the other agent's id (any form that the host knows) and its input as keywords. Leaves: its result, or
`CallFailed`. Works inside of a call only: caller, deadline and trace are those of the call that runs, and what
the other agent uses is charged to the same caller. A thread that outlives its call acts for the one that runs then.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

from pixell_runtime.calls import CREDITED_AT_ONCE, Calls
from pixell_runtime.context import CALL, SLOT
from pixell_runtime.credit import WEIGHT
from pixell_runtime.errors import CallFailed, RuntimeUnavailable
from pixell_runtime.frames import ON_MAIN, REPLY_FAILED, REPLY_ITEM, REPLY_OCTETS, STREAM

if TYPE_CHECKING:
    import asyncio

#: What a REPLY says: its flags, and its payload.
_Said = tuple[int, bytes]

#: Not said yet. Told apart by what it is, not by what it holds.
_NOTHING: _Said = (-1, b"")

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_calls: Calls | None = None


def call(agent_id: str, /, **arguments: Any) -> Any:
    """Calls another agent and waits for its result. Blocks: from async code use `acall`."""
    calls, parent = _running()
    if calls.may_block():
        try:
            return _read(calls, parent, agent_id, arguments)
        finally:
            calls.settled()
    answer = _Once()
    ident = calls.begin(parent, agent_id, arguments, answer)
    try:
        return _result(answer.wait())
    finally:
        calls.abandon(ident)


async def acall(agent_id: str, /, **arguments: Any) -> Any:
    """Calls another agent from async code. Cancelling it cancels the other agent's call."""
    calls, parent = _running()
    answer = _Awaited()
    on_main = calls.may_await()
    try:
        ident = calls.begin(parent, agent_id, arguments, answer, ON_MAIN if on_main else 0)
        try:
            return _result(await answer.said)
        finally:
            calls.abandon(ident)
    finally:
        if on_main:
            calls.settled()


def stream(agent_id: str, /, **arguments: Any) -> Iterator[Any]:
    """The items of another agent as they come. Closing the iterator ends the other agent's generator."""
    calls, parent = _running()
    answer = _Lined()
    ident = calls.begin(parent, agent_id, arguments, answer, STREAM)
    return _Followed(calls, ident, answer)


async def astream(agent_id: str, /, **arguments: Any) -> AsyncIterator[Any]:
    """The same for async code."""
    calls, parent = _running()
    answer = _Queued()
    ident = calls.begin(parent, agent_id, arguments, answer, STREAM)
    taken = _Taken(calls, ident)
    try:
        while True:
            said = await answer.queue.get()
            if said[0] & REPLY_ITEM:
                yield taken.item(said)
            elif _is_end(said):
                return
            else:
                yield _result(said)
                return
    finally:
        calls.abandon(ident)


def bind(calls: Calls) -> None:
    """Which worker this is; done once, before the agent's code runs."""
    global _calls
    _calls = calls


def _running() -> tuple[Calls, int]:
    """This worker's calls, and the call that runs."""
    running = CALL.get()
    frame = running.frame if running is not None else SLOT.frame
    if _calls is None or frame is None:
        raise RuntimeUnavailable("agents can be called only while a call runs")
    return _calls, frame[2]


def _read(calls: Calls, parent: int, agent_id: str, arguments: dict[str, Any]) -> Any:
    """Calls, and reads the answer on this thread: nothing has to wake it."""
    answer = _Direct()
    ident = calls.begin(parent, agent_id, arguments, answer, ON_MAIN)
    try:
        calls.receive_until(answer.is_there)
        return _result(answer.said)
    finally:
        calls.abandon(ident)


def _is_end(said: _Said) -> bool:
    return not said[0] & REPLY_FAILED and not said[1]


def _result(said: _Said) -> Any:
    flags, payload = said
    if flags & REPLY_FAILED:
        raise CallFailed.of(json.loads(payload))
    return payload if flags & REPLY_OCTETS else _value(payload)


def _value(payload: bytes) -> Any:
    """JSON as `par` sends it: most has nothing around it, and needs none of the layers that look for that."""
    text = payload.decode()
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else json.loads(text)


class _Direct:
    """One answer, for the thread that reads it."""

    def __init__(self) -> None:
        self.said: _Said = _NOTHING

    def take(self, flags: int, payload: bytes) -> None:
        self.said = (flags, payload)

    def is_there(self) -> bool:
        return self.said is not _NOTHING


class _Once:
    """One answer, for a thread. A lock is the quickest thing to wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._said: _Said = (0, b"")

    def take(self, flags: int, payload: bytes) -> None:
        self._said = (flags, payload)
        self._lock.release()

    def wait(self) -> _Said:
        self._lock.acquire()
        return self._said


class _Lined:
    """Many answers, for a thread."""

    def __init__(self) -> None:
        self.line: queue.SimpleQueue[_Said] = queue.SimpleQueue()

    def take(self, flags: int, payload: bytes) -> None:
        self.line.put((flags, payload))


class _Followed(Iterator[Any]):
    """The items of a call. No generator: one that was never begun would not end its call when it is dropped."""

    def __init__(self, calls: Calls, ident: int, answer: _Lined) -> None:
        self._calls = calls
        self._ident = ident
        self._line = answer.line
        self._taken = _Taken(calls, ident)
        self._over = False

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        said = self._line.get()
        if said[0] & REPLY_ITEM:
            return self._taken.item(said)
        self._over = True
        if _is_end(said):
            raise StopIteration
        return _result(said)

    def close(self) -> None:
        """Ends the other agent's call."""
        self._over = True
        self._calls.abandon(self._ident)

    def __del__(self) -> None:
        self.close()


class _Awaited:
    """One answer, for a task of a loop."""

    def __init__(self) -> None:
        # Whoever comes here has imported it; others do not pay for it.
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.said: asyncio.Future[_Said] = self._loop.create_future()

    def take(self, flags: int, payload: bytes) -> None:
        if threading.get_ident() == self._thread:
            self._set((flags, payload))
            return
        # A loop that was closed has left nobody who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set, (flags, payload))

    def _set(self, said: _Said) -> None:
        if not self.said.done():
            self.said.set_result(said)


class _Queued:
    """Answers for a task of a loop."""

    def __init__(self) -> None:
        # Whoever comes here has imported it; others do not pay for it.
        import asyncio

        self._put: Callable[..., Any] = asyncio.get_running_loop().call_soon_threadsafe
        self.queue: asyncio.Queue[_Said] = asyncio.Queue()

    def take(self, flags: int, payload: bytes) -> None:
        # A loop that was closed has left nobody who waits.
        with suppress(RuntimeError):
            self._put(self.queue.put_nowait, (flags, payload))


class _Taken:
    """Lets more items come for those that were taken."""

    def __init__(self, calls: Calls, ident: int) -> None:
        self._calls = calls
        self._ident = ident
        self._owed = 0

    def item(self, said: _Said) -> Any:
        self._owed += len(said[1]) + WEIGHT
        if self._owed >= CREDITED_AT_ONCE:
            self._calls.consumed(self._ident, self._owed)
            self._owed = 0
        return said[1] if said[0] & REPLY_OCTETS else _value(said[1])
