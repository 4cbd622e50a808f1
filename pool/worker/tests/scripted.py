"""A server that follows a script: what each connection gets, byte by byte. For tests of the client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What is done with one connection.
Act = Callable[["Line"], None]


@dataclass
class Line:
    """One accepted connection."""

    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)

    def request(self) -> tuple[str, dict[str, str], bytes]:
        """First line, headers in small letters, and body of the next request; an empty line if none comes."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.connection.recv(65536)
            if not data:
                return "", {}, b""
            self.buffer += data
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(rest) < length:
            rest += self.connection.recv(65536)
        self.buffer[:] = rest[length:]
        return first, headers, rest[:length]

    def answer(self, status: int, body: bytes, *headers: str, content_type: str = "application/json") -> None:
        """A whole answer."""
        lines = [
            f"HTTP/1.1 {status} x",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def say(self, raw: bytes) -> None:
        """These bytes."""
        self.connection.sendall(raw)

    def left(self) -> bool:
        """Waits until the client has closed; false if it says more instead."""
        with contextlib.suppress(ConnectionResetError):
            return not self.connection.recv(1)
        return True

    def cut(self) -> None:
        """Ends the connection with an error where its kind has one."""
        self.connection.close()


@dataclass
class Server:
    """Where it listens, and what it has seen."""

    path: str
    acts: list[Act]
    heads: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    connections: int = 0

    def _serve(self, listener: socket.socket) -> None:
        threads = []
        for act in self.acts:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            self.connections += 1
            thread = threading.Thread(target=self._act, args=(act, connection))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _act(self, act: Act, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                act(_Noting(connection, server=self))
            except BaseException as error:
                self.failures.append(error)


@dataclass
class _Noting(Line):
    server: Server | None = None

    def request(self) -> tuple[str, dict[str, str], bytes]:
        told = super().request()
        if told[0] and self.server is not None:
            self.server.heads.append(told)
        return told


@contextlib.contextmanager
def scripted(directory: Path, *acts: Act) -> Iterator[Server]:
    """A server whose first connection is treated by the first act, and so on. Fails if one of them did."""
    server = Server(str(directory / "scripted.sock"), list(acts))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(server.path)
        listener.listen()
        thread = threading.Thread(target=server._serve, args=(listener,))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    if server.failures:
        raise server.failures[0]


def answering(*answers: tuple[int, bytes]) -> Act:
    """Answers so many requests of one connection."""

    def act(line: Line) -> None:
        for status, body in answers:
            assert line.request()[0], "a request was expected"
            line.answer(status, body)

    return act
