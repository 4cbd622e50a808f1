"""Load beside rollouts: oha over HTTP/1.1 and over HTTP/2 at once, each with connections that stay open."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.client import HOST
from bench.generators import Load, oha_load
from bench.server import Server

# What every HTTP/2 connection begins with, and an empty SETTINGS frame.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4
# Longer than any run: it is ended by a signal.
OPEN_END_SECONDS = 7200
LAST_WORDS_SECONDS = 30.0


@dataclass(frozen=True)
class Client:
    """A kind of client: `connections`, each with `streams` calls at once."""

    title: str
    options: tuple[str, ...]
    connections: int
    streams: int


HTTP_1 = Client("HTTP/1.1 keep-alive", (), 16, 1)
HTTP_2 = Client("HTTP/2", ("--http2",), 4, 4)


def speaks_http_2(port: int) -> bool:
    """Whether the port answers the preface of HTTP/2 without TLS by settings of its own."""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(PREFACE)
        try:
            head = connection.recv(9)
        except OSError:
            return False
    return len(head) == 9 and head[3] == SETTINGS


def together(server: Server, path: str, clients: Sequence[Client], seconds: int) -> list[Load]:
    """All clients at once, as fast as they are answered."""
    running = [Running(server, path, client, None, seconds) for client in clients]
    return [each.result() for each in running]


class Running:
    """A load that runs beside something else until it is ended; `rate` None: as fast as it is answered."""

    def __init__(
        self, server: Server, path: str, client: Client, rate: float | None, seconds: int = OPEN_END_SECONDS
    ) -> None:
        command = ["oha", "--no-tui", "--output-format", "json", "-z", f"{seconds}s", *client.options]
        command += ["-c", str(client.connections), "-p", str(client.streams), "-m", "POST"]
        if rate is not None:
            command += ["--latency-correction", "-q", str(max(1, round(rate)))]
        command += ["-T", "application/json", "-d", "{}", server.url(path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> Load:
        """Stop sending; what it saw until now."""
        self._process.send_signal(signal.SIGINT)
        return self.result(LAST_WORDS_SECONDS)

    def result(self, seconds: float = OPEN_END_SECONDS) -> Load:
        """What it saw, when it has ended."""
        try:
            output, problem = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        if self._process.returncode:
            raise RuntimeError(f"oha: exit {self._process.returncode}\n{problem[-1000:]}")
        return oha_load(json.loads(output))

    def cancel(self) -> None:
        """End it whatever it is doing, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
