"""A small HTTP/1.1 client on one epoll: what wrk and oha cannot say (bursts, classes of calls, headers).

It costs 15 to 25 microseconds of CPU per call, on the cores that the server also wants.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """One response, or a failed connection (status 0). `seconds` counts from when the call was due."""

    label: str
    status: int
    seconds: float
    headers: bytes
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The value of a response header."""
        for line in self.headers.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode("latin-1").lower() == name.lower():
                return value.strip().decode("latin-1")
        return None


@dataclass(frozen=True)
class Call:
    """One prepared request; `label` comes back in its answer."""

    label: str
    text: bytes


def post(path: str, body: Any, label: str = "", headers: Iterable[str] = ()) -> Call:
    """Prepare a POST of JSON."""
    payload = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    head += [f"Content-Length: {len(payload)}", *headers, "", ""]
    return Call(label, "\r\n".join(head).encode() + payload)


def get(path: str, headers: Iterable[str] = ()) -> Call:
    """Prepare a GET."""
    return Call("", "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode())


class _Connection:
    """One keep-alive connection with at most one call on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._call: Call | None = None
        self._sent = 0.0
        self._buffer = b""

    @property
    def is_idle(self) -> bool:
        """Whether no call is out on it."""
        return self._call is None

    def send(self, call: Call, since: float) -> None:
        """Requests are small: they fit the socket's buffer, or the call fails."""
        self._call, self._buffer, self._sent = call, b"", since
        self.socket.send(call.text)

    def receive(self) -> Answer | None:
        """The answer, as soon as it is complete."""
        assert self._call is not None
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return self._answer(0, b"", b"")
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(rest) < _content_length(head):
            return None
        return self._answer(int(head[9:12]), head, rest)

    def _answer(self, status: int, head: bytes, body: bytes) -> Answer:
        assert self._call is not None
        label, self._call = self._call.label, None
        return Answer(label, status, time.perf_counter() - self._sent, head, body)


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    end = lower.find(b"\r\n", at + 2)
    return int(lower[at + 17 : end if end > 0 else None])


class Pool:
    """Open connections to one server."""

    def __init__(self, port: int, connections: int) -> None:
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        for _ in range(connections):
            connection = _Connection(port)
            self._open[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket, select.EPOLLIN)
        self._idle = list(self._open.values())
        self._out = 0

    def close(self) -> None:
        """Close all."""
        for connection in self._open.values():
            connection.socket.close()
        self._epoll.close()

    def send(self, call: Call) -> None:
        """Send on a connection that has not been used yet, and do not wait."""
        self._idle.pop().send(call, time.perf_counter())
        self._out += 1

    def gather(self, seconds: float) -> list[Answer]:
        """The answers to all calls that are out; what does not come in time has status 0."""
        end = time.perf_counter() + seconds
        answers: list[Answer] = []
        while len(answers) < self._out and time.perf_counter() < end:
            answers += [answer for _, answer in self._arrived(0.1)]
        missing = self._out - len(answers)
        self._out = 0
        return answers + [Answer("", 0, seconds, b"", b"")] * missing

    def burst(self, calls: Sequence[Call], seconds: float) -> list[Answer]:
        """One call on each connection at once, all timed from the first."""
        begun = time.perf_counter()
        for call in calls:
            self._idle.pop().send(call, begun)
        self._out += len(calls)
        return self.gather(seconds)

    def closed_loop(
        self, next_call: Callable[[], Call], seconds: float, then: Callable[[], None] | None = None
    ) -> list[Answer]:
        """Keep one call on every connection for so long; then do something, if asked, and wait for what is out."""
        for connection in self._open.values():
            connection.send(next_call(), time.perf_counter())
        answers: list[Answer] = []
        end = time.perf_counter() + seconds
        waiting = len(self._open)
        while waiting and time.perf_counter() < end + 30:
            if then and time.perf_counter() >= end:
                then()
                then = None
            for connection, answer in self._arrived(0.01 if then else 0.1):
                answers.append(answer)
                if answer.status and time.perf_counter() < end:
                    connection.send(next_call(), time.perf_counter())
                else:
                    waiting -= 1
        return answers

    def _arrived(self, timeout: float) -> list[tuple[_Connection, Answer]]:
        arrived = []
        for number, _ in self._epoll.poll(timeout):
            connection = self._open[number]
            if connection.is_idle:
                # Its server has closed it.
                self._epoll.unregister(number)
                continue
            answer = connection.receive()
            if answer:
                arrived.append((connection, answer))
                if not answer.status:
                    self._epoll.unregister(number)
        return arrived


def ask(port: int, call: Call, seconds: float = 30.0) -> Answer:
    """One call on a connection of its own."""
    pool = Pool(port, 1)
    try:
        return pool.burst([call], seconds)[0]
    finally:
        pool.close()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
