"""Connections for one event loop: the same as `blocking.py`, on the streams of asyncio.

Enters: requests. Leaves: replies whose bodies are still to be read. A task that is cancelled ends its connection,
and with it the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Callable, TypeVar

from pixell_runtime.client import verdict
from pixell_runtime.client.answer import Answer, Garbled, Head
from pixell_runtime.client.blocking import CONNECT, KEPT, READ
from pixell_runtime.client.clock import Clock, late
from pixell_runtime.client.errors import (
    CallError,
    ConnectionLost,
    InternalError,
    PeerRefused,
    Unreachable,
    of_answer,
)
from pixell_runtime.client.place import Place, check_peer
from pixell_runtime.client.request import Request

T = TypeVar("T")


async def within(doing: Awaitable[T], patience: float | None) -> T:
    """The result, or `DeadlineExceeded`."""
    if patience is None:
        return await doing
    try:
        return await asyncio.wait_for(doing, patience)
    except asyncio.TimeoutError as error:
        raise late() from error


class Connection:
    """One connection, used by one task at a time."""

    __slots__ = ("_reader", "_writer", "used")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether it was kept for a short time only, and its peer has said nothing, not even that it leaves."""
        if time.monotonic() - self.used > KEPT or self._reader.at_eof() or self._writer.is_closing():
            return False
        # What has arrived and was not told to the loop yet.
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        return await self._reader.read(READ)

    def spare(self) -> socket.socket:
        """A second handle of the socket: asyncio closes its own at the first write that fails, with what has arrived
        still in it."""
        spare: socket.socket = self._writer.get_extra_info("socket").dup()
        spare.setblocking(False)
        return spare

    def close(self) -> None:
        """At once: nobody waits for what the peer still has to say."""
        # The loop may be gone, and its sockets are with it.
        with contextlib.suppress(RuntimeError):
            self._writer.transport.abort()


async def _connect(place: Place, tls: ssl.SSLContext | None) -> Connection:
    try:
        if place.is_local:
            reader, writer = await asyncio.open_unix_connection(place.path)
        else:
            server_hostname = place.host if tls is not None else None
            reader, writer = await asyncio.open_connection(
                place.host, place.port, ssl=tls, server_hostname=server_hostname
            )
    except ssl.SSLCertVerificationError as error:
        raise PeerRefused(f"{place} is not trusted: {error}") from error
    except OSError as error:
        raise Unreachable(f"nobody answers at {place}: {error}") from error
    connection = Connection(reader, writer)
    peer = writer.get_extra_info("socket")
    try:
        if place.is_local:
            check_peer(peer, place.path)
        else:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        connection.close()
        raise
    return connection


class Connections:
    """At most so many at once; those that are not in use are kept for the next call. For one event loop."""

    def __init__(self, place: Place, tls: ssl.SSLContext | None, most: int) -> None:
        self.place = place
        self._tls = tls
        self._kept: deque[Connection] = deque()
        self._free = asyncio.Semaphore(most)

    async def take(self, clock: Clock) -> Connection:
        """One that was kept, or a new one. Waits for a place."""
        if self._free.locked():
            await within(self._free.acquire(), clock.remaining())
        else:
            await self._free.acquire()
        try:
            while self._kept:
                connection = self._kept.pop()
                if connection.usable:
                    return connection
                connection.close()
            remaining = clock.remaining()
            patience = CONNECT if remaining is None else min(CONNECT, remaining)
            try:
                return await asyncio.wait_for(_connect(self.place, self._tls), patience)
            except asyncio.TimeoutError as error:
                raise Unreachable(f"nobody answers at {self.place} in time") from error
        except BaseException:
            self._free.release()
            raise

    def give(self, connection: Connection, reusable: bool) -> None:
        """The connection is not needed any more."""
        if reusable:
            connection.used = time.monotonic()
            self._kept.append(connection)
        else:
            connection.close()
        self._free.release()

    def close(self) -> None:
        """Closes what is not in use."""
        while self._kept:
            self._kept.pop().close()


class Reply:
    """An answer whose body is still to be read. Closed before its end, it ends the call."""

    def __init__(self, connections: Connections, connection: Connection, clock: Clock) -> None:
        self._connections: Connections | None = connections
        self._connection = connection
        self._clock = clock
        self._answer = Answer()
        self._first = b""
        self._loop = asyncio.get_running_loop()
        #: Not all of the request has left: what follows on this connection would be taken for the rest.
        self.cut = False

    @property
    def head(self) -> Head:
        """There as soon as the reply is."""
        if self._answer.head is None:
            raise Garbled("an answer without a head")
        return self._answer.head

    async def send(self, head: bytes, rest: Iterator[bytes]) -> bool:
        """Sends the request; true: the connection ended before all of it had left."""
        try:
            await self._connection.send(head)
        except OSError:
            return True
        loop = asyncio.get_running_loop()
        while True:
            # A file may be on a slow disk, and others use the loop.
            piece = await loop.run_in_executor(None, next, rest, None)
            if piece is None:
                return False
            try:
                await self._connection.send(piece)
            except OSError:
                return True

    async def begin(self) -> bool:
        """Reads until the head is whole; false: the connection has ended without a byte."""
        seen = False
        while self._answer.head is None:
            data = await self._connection.receive()
            if not data and not seen:
                return False
            seen = True
            self._first = self._answer.feed(data)
        return True

    def rest(self, spare: socket.socket) -> bool:
        """Reads what was there when the connection ended; whether it has a head."""
        with contextlib.suppress(OSError):
            while self._answer.head is None and (data := spare.recv(READ)):
                self._first = self._answer.feed(data)
        return self._answer.head is not None

    def spare(self) -> socket.socket:
        """Of its connection."""
        return self._connection.spare()

    async def pieces(self, timed: bool = True) -> AsyncIterator[bytes]:
        """The body; not timed: as long as it takes."""
        try:
            if self._first:
                first, self._first = self._first, b""
                yield first
            while not self._answer.done:
                patience = self._clock.patience() if timed else None
                piece = self._answer.feed(await within(self._connection.receive(), patience))
                if piece:
                    yield piece
        except (OSError, Garbled) as error:
            raise ConnectionLost(f"the connection broke within the answer: {error}") from error
        finally:
            self.close()

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces()])

    def close(self) -> None:
        """Gives the connection back, or ends it if there is more to come."""
        connections, self._connections = self._connections, None
        if connections is not None:
            answer = self._answer
            reusable = answer.done and answer.head is not None and answer.head.keeps and not self.cut
            connections.give(self._connection, reusable)

    def __del__(self) -> None:
        # Not from here: the garbage collector may run in any thread. A loop that is gone has taken its sockets along.
        if self._connections is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.close)


async def exchange(
    connections: Connections,
    request: Request,
    token: Callable[[], Awaitable[str | None]],
    clock: Clock,
) -> Reply:
    """One call, tried again only where it cannot have begun. A reply is a success."""
    tries = 0
    while True:
        tries += 1
        try:
            return await _try(connections, request, await token(), clock)
        except CallError as failure:
            seconds = verdict.pause(failure, tries)
            if seconds is None or not clock.allows(seconds):
                raise
        await asyncio.sleep(seconds)


async def _try(connections: Connections, request: Request, token: str | None, clock: Clock) -> Reply:
    reply = await _once(connections, request, token, clock)
    if reply is None:
        # What was kept had ended before all of the request had left. The next one is new, or fresher.
        reply = await _once(connections, request, token, clock)
    if reply is None:
        raise Unreachable(f"{connections.place} closed the connection before it had the request")
    head = reply.head
    if 200 <= head.status < 300:
        return reply
    body = await reply.read()
    if head.status < 400:
        raise InternalError(f"status {head.status} is no answer of a par", status=head.status)
    raise of_answer(head.status, head.headers, body)


async def _once(connections: Connections, request: Request, token: str | None, clock: Clock) -> Reply | None:
    """A reply; none if the connection ended before all of the request had left: nothing can have begun."""
    reply = Reply(connections, await connections.take(clock), clock)
    try:
        begun, unsent, cause = await within(_sent(reply, request, token, clock), clock.patience())
    except BaseException:
        reply.close()
        raise
    if begun:
        return reply
    reply.close()
    if unsent:
        return None
    raise ConnectionLost("the connection ended before the answer came") from cause


async def _sent(
    reply: Reply, request: Request, token: str | None, clock: Clock
) -> tuple[bool, bool, Exception | None]:
    """Whether an answer has begun, whether not all of the request has left, and what has ended the connection."""
    head, rest, is_small = request.written(token, clock.remaining())
    if is_small:
        unsent = await reply.send(head, rest)
        begun, cause = await _begun(reply)
        return begun, unsent, cause
    # Whoever refuses a body does not read it to its end, and may be gone when all of it would have left. What it has
    # said is only heard by who listens while it sends.
    spare = reply.spare()
    sending = asyncio.ensure_future(reply.send(head, rest))
    beginning = asyncio.ensure_future(_begun(reply))
    try:
        await asyncio.wait({sending, beginning}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            # A file that cannot be read ends the call.
            sending.result()
        begun, cause = await beginning
        begun = begun or reply.rest(spare)
        if begun and reply.head.status < 400:
            # Whoever succeeds has read everything: what is left to be done is to notice it.
            await sending
        unsent = not sending.done() or sending.result()
        reply.cut = unsent
        return begun, unsent, cause
    finally:
        sending.cancel()
        beginning.cancel()
        spare.close()


async def _begun(reply: Reply) -> tuple[bool, Exception | None]:
    try:
        return await reply.begin(), None
    except (OSError, Garbled) as error:
        return False, error
