"""Calls that this worker makes, until their answers have come.

Enters: calls from handlers, on any thread, and REPLY frames on the monitor's, or on the thread that reads the main
socket. Leaves: INVOKE and CONSUMED frames. Who the caller is, until when, and how deep calls are nested is not said here: `par` knows it from its
own record of the call in which this one is made.
"""

from __future__ import annotations

import functools
import itertools
import json
from threading import get_ident
from typing import Any, Callable, Protocol

from pixell_runtime.channel import Channel
from pixell_runtime.errors import RuntimeUnavailable
from pixell_runtime.frames import CONSUMED, INVOKE, MAX_BODY, MAX_META, REPLY_ITEM, Frame
from pixell_runtime.leaving import leave
from pixell_runtime.results import encode
from pixell_runtime.spans import around

#: Ids of a worker's own calls have the highest bit.
_FIRST = 1 << 63

#: Items are credited by this many bytes: each on its own would be a frame for a frame.
CREDITED_AT_ONCE = 65_536

#: Flag of CONSUMED: nobody waits for the rest.
_ABANDONED = 1


@functools.lru_cache(maxsize=256)
def _quoted(agent_id: str) -> bytes:
    """As JSON. A handler calls few agents, and those often."""
    return json.dumps(agent_id).encode()


class Waiting(Protocol):
    """Who waits for an answer. Called on the monitor's thread, or on the one that reads the main socket."""

    def take(self, flags: int, payload: bytes) -> None:
        """A REPLY has come."""


class Calls:
    """One per worker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ids = itertools.count(_FIRST)
        self._waiting: dict[int, Waiting] = {}

    def begin(
        self, parent: int, agent_id: str, arguments: dict[str, Any], waiting: Waiting, flags: int = 0
    ) -> int:
        """Sends a call and returns its id. Raises `TypeError` or `ValueError` for arguments that are no JSON."""
        body = "".join(encode(arguments, 0)).encode()
        if len(body) > MAX_BODY // 2:
            raise ValueError(f"the arguments have {len(body)} bytes, more than {MAX_BODY // 2}")
        meta = b'{"agent_id":%b,"parent":%d}' % (_quoted(str(agent_id)), parent)
        span = around(parent)
        if span:
            meta = b'%b,"span":"%b"}' % (meta[:-1], span)
        if len(meta) > MAX_META:
            raise ValueError("the agent's id is too long")
        if self._channel.forked:
            raise RuntimeUnavailable("a process that a handler has forked cannot call agents")
        ident = next(self._ids)
        self._waiting[ident] = waiting
        self._channel.add(INVOKE, flags, ident, 0, meta, body)
        self._channel.flush()
        return ident

    def may_block(self) -> bool:
        """Whether this thread may read the answer to one call itself. If so, `settled` is owed."""
        return self._channel.reader == get_ident() and self._channel.expect(self.reply)

    def may_await(self) -> bool:
        """Whether this thread's loop reads the answer to one call itself. If so, `settled` is owed."""
        return self._channel.looper == get_ident() and self._channel.expect(self.reply)

    def receive_until(self, done: Callable[[], bool]) -> None:
        """Reads answers until `done()`."""
        if not self._channel.receive_until(done):
            # par has closed the socket: nobody would get what the handler makes of it.
            leave(self._channel, 0)

    def settled(self) -> None:
        """Nobody waits for that answer any longer."""
        self._channel.settled()

    def reply(self, frame: Frame) -> None:
        """Gives a REPLY to whoever waits for it."""
        _, flags, ident, _, _, _, payload, _ = frame
        waiting = self._waiting.get(ident) if flags & REPLY_ITEM else self._waiting.pop(ident, None)
        if waiting is not None:
            waiting.take(flags, payload)

    def consumed(self, ident: int, amount: int) -> None:
        """So many bytes of items were taken."""
        self._channel.add(CONSUMED, 0, ident, amount, b"", b"")
        self._channel.flush()

    def abandon(self, ident: int) -> None:
        """Nobody waits any longer."""
        if self._waiting.pop(ident, None) is not None and not self._channel.forked:
            self._channel.add(CONSUMED, _ABANDONED, ident, 0, b"", b"")
            self._channel.flush()
