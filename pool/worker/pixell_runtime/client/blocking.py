"""Connections for threads: taken, used for one exchange, given back.

Enters: requests. Leaves: replies whose bodies are still to be read, or errors that say whether anything was sent.
"""

from __future__ import annotations

import itertools
import os
import queue
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from typing import Callable

from pixell_runtime.client import verdict
from pixell_runtime.client.answer import Answer, Garbled, Head
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

#: Seconds within which somebody must answer a knock.
CONNECT = 10.0

#: Seconds that a connection is kept without work: less than the 75 after which a `par` closes it, so that it is we
#: who close it and no request meets its end.
KEPT = 45.0

#: Bytes that are read at once.
READ = 64 * 1024


class Connection:
    """One connection, used by one thread at a time."""

    __slots__ = ("_socket", "used")

    def __init__(self, place: Place, tls: ssl.SSLContext | None, clock: Clock) -> None:
        self._socket = _connect(place, tls, clock)
        self.used = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether it was kept for a short time only, and its peer has said nothing, not even that it leaves."""
        if time.monotonic() - self.used > KEPT:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def send(self, data: bytes, clock: Clock) -> None:
        self._socket.settimeout(clock.patience())
        self._socket.sendall(data)

    def receive(self, patience: float | None) -> bytes:
        self._socket.settimeout(patience)
        return self._socket.recv(READ)

    def close(self) -> None:
        self._socket.close()


def _connect(place: Place, tls: ssl.SSLContext | None, clock: Clock) -> socket.socket:
    remaining = clock.remaining()
    patience = CONNECT if remaining is None else min(CONNECT, remaining)
    try:
        if place.is_local:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            connection = socket.create_connection((place.host, place.port), timeout=patience)
    except OSError as error:
        raise Unreachable(f"nobody answers at {place}: {error}") from error
    try:
        connection.settimeout(patience)
        if place.is_local:
            connection.connect(place.path)
            check_peer(connection, place.path)
            return connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Whoever waits for hours for a stream notices that the other side is gone.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return tls.wrap_socket(connection, server_hostname=place.host) if tls is not None else connection
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise PeerRefused(f"{place} is not trusted: {error}") from error
    except OSError as error:
        connection.close()
        raise Unreachable(f"nobody answers at {place}: {error}") from error
    except BaseException:
        connection.close()
        raise


class Connections:
    """At most so many at once; those that are not in use are kept for the next call. For any number of threads."""

    def __init__(self, place: Place, tls: ssl.SSLContext | None, most: int) -> None:
        self.place = place
        self._tls = tls
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._kept: deque[Connection] = deque()
        # One token for each connection that may be. This queue may be filled while it is being read from, by what
        # the garbage collector closes; a semaphore may not.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self._most):
            self._free.put(None)

    def take(self, clock: Clock) -> Connection:
        """One that was kept, or a new one. Waits for a place."""
        if self._process != os.getpid():
            # A child shares the parent's sockets; to close them here does not end them there.
            self._begin()
        try:
            self._free.get(timeout=clock.remaining())
        except queue.Empty:
            raise late() from None
        try:
            while self._kept:
                try:
                    connection = self._kept.pop()
                except IndexError:
                    break
                if connection.usable:
                    return connection
                connection.close()
            return Connection(self.place, self._tls, clock)
        except BaseException:
            self._free.put(None)
            raise

    def give(self, connection: Connection, reusable: bool) -> None:
        """The connection is not needed any more."""
        if reusable:
            connection.used = time.monotonic()
            self._kept.append(connection)
        else:
            connection.close()
        self._free.put(None)

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
        #: Not all of the request has left: what follows on this connection would be taken for the rest.
        self.cut = False

    @property
    def head(self) -> Head:
        """There as soon as the reply is."""
        if self._answer.head is None:
            raise Garbled("an answer without a head")
        return self._answer.head

    def send(self, head: bytes, rest: Iterator[bytes]) -> bool:
        """Sends the request; true: the connection ended before all of it had left."""
        for piece in itertools.chain((head,), rest):
            try:
                self._connection.send(piece, self._clock)
            except socket.timeout as error:
                raise late() from error
            except OSError:
                return True
        return False

    def begin(self) -> bool:
        """Reads until the head is whole; false: the connection has ended without a byte."""
        seen = False
        while self._answer.head is None:
            data = self._connection.receive(self._clock.patience())
            if not data and not seen:
                return False
            seen = True
            self._first = self._answer.feed(data)
        return True

    def pieces(self, timed: bool = True) -> Iterator[bytes]:
        """The body; not timed: from its second piece on, as long as it takes."""
        try:
            if self._first:
                first, self._first = self._first, b""
                yield first
            while not self._answer.done:
                patience = self._clock.patience() if timed else None
                piece = self._answer.feed(self._connection.receive(patience))
                if piece:
                    yield piece
        except socket.timeout as error:
            raise late() from error
        except (OSError, Garbled) as error:
            raise ConnectionLost(f"the connection broke within the answer: {error}") from error
        finally:
            self.close()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def close(self) -> None:
        """Gives the connection back, or ends it if there is more to come."""
        connections, self._connections = self._connections, None
        if connections is not None:
            answer = self._answer
            reusable = answer.done and answer.head is not None and answer.head.keeps and not self.cut
            connections.give(self._connection, reusable)

    def __del__(self) -> None:
        self.close()


def exchange(
    connections: Connections, request: Request, token: Callable[[], str | None], clock: Clock
) -> Reply:
    """One call, tried again only where it cannot have begun. A reply is a success."""
    tries = 0
    while True:
        tries += 1
        try:
            return _try(connections, request, token(), clock)
        except CallError as failure:
            seconds = verdict.pause(failure, tries)
            if seconds is None or not clock.allows(seconds):
                raise
        time.sleep(seconds)


def _try(connections: Connections, request: Request, token: str | None, clock: Clock) -> Reply:
    reply = _once(connections, request, token, clock)
    if reply is None:
        # What was kept had ended before all of the request had left. The next one is new, or fresher.
        reply = _once(connections, request, token, clock)
    if reply is None:
        raise Unreachable(f"{connections.place} closed the connection before it had the request")
    head = reply.head
    if 200 <= head.status < 300:
        return reply
    body = reply.read()
    if head.status < 400:
        raise InternalError(f"status {head.status} is no answer of a par", status=head.status)
    raise of_answer(head.status, head.headers, body)


def _once(connections: Connections, request: Request, token: str | None, clock: Clock) -> Reply | None:
    """A reply; none if the connection ended before all of the request had left: nothing can have begun."""
    reply = Reply(connections, connections.take(clock), clock)
    cause: Exception | None = None
    try:
        head, rest, _ = request.written(token, clock.remaining())
        reply.cut = unsent = reply.send(head, rest)
        try:
            # Whoever refuses a body does not read it to its end: the reason may be there all the same.
            begun = reply.begin()
        except socket.timeout as error:
            raise late() from error
        except (OSError, Garbled) as error:
            begun, cause = False, error
    except BaseException:
        reply.close()
        raise
    if begun:
        return reply
    reply.close()
    if unsent:
        return None
    raise ConnectionLost("the connection ended before the answer came") from cause
