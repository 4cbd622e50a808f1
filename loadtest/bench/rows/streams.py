"""Calls that stream: how long an item is on its way, alone and among a thousand streams, and what they take."""

from __future__ import annotations

import json
import select
import socket
import time
from dataclasses import dataclass, field, replace

from ..client import HOST, post, quantile
from ..plan import Bench, Result, Verdict, at_most
from ..process import peak_mb

STREAMS = 1_000
ITEMS = 10
PAUSE = 1.0
ASKED_FIRST_MS = 1.0
ASKED_LATE_MS = 50.0
ASKED_MB = 150.0


@dataclass
class _Reader:
    """One stream on a connection of its own."""

    socket: socket.socket
    unread: bytes = b""
    late_ms: list[float] = field(default_factory=list)
    done: bool = False

    def read(self) -> None:
        """Takes what has come, and the time that each item was on its way."""
        data = self.socket.recv(65536)
        now = time.monotonic_ns()
        if not data:
            self.done = True
            return
        *lines, self.unread = (self.unread + data).split(b"\n")
        for line in lines:
            # Between the chunks' lengths there are items and nothing else that is so long.
            if len(line) > 12 and line.isdigit():
                self.late_ms.append((now - json.loads(line)) / 1e6)
            elif line == b"0\r":
                self.done = True


def streams(bench: Bench) -> Result:
    """Items are the monotonic clock at their yield; the reader compares it with its own."""
    header = ["streams", "items", "on its way: p50 ms", "p99 ms", "most ms", "gateway MB"]
    result = Result("streams", "Streams of one item a second", header)
    if not bench.par:
        return result
    par = replace(bench.par, env={"MAX_CONCURRENT_INVOCATIONS": "2000"})
    with par.start("ticks") as running:
        port, pid = running.server.port, running.server.pid
        _follow(port, 1, 20, 0.01)
        firsts = [_follow(port, 1, 1, 0.0)[0] for _ in range(50)]
        # Enough workers for all, before the clock runs.
        _follow(port, STREAMS, 2, PAUSE)
        late = _follow(port, STREAMS, ITEMS, PAUSE)
        megabytes = peak_mb(pid)
    for count, times in ((1, firsts), (STREAMS, late)):
        shown = [f"{quantile(times, share):.2f}" for share in (0.5, 0.99, 1.0)]
        result.lines.append([f"{count:,}", f"{len(times):,}", *shown, f"{megabytes:.0f}"])
    result.verdicts = [
        Verdict("every item arrived", f"{STREAMS * ITEMS:,}", f"{len(late):,}", len(late) == STREAMS * ITEMS),
        at_most(
            "first item of a stream after its yield, p50", quantile(firsts, 0.5), ASKED_FIRST_MS, " ms", 2
        ),
        at_most(f"{STREAMS:,} streams: latest item", max(late, default=float("nan")), ASKED_LATE_MS, " ms"),
        at_most(f"{STREAMS:,} streams: gateway, RSS at its peak", megabytes, ASKED_MB, " MB"),
    ]
    result.raw = {"first_ms": firsts, "late_ms": [quantile(late, share / 100) for share in range(1, 101)]}
    return result


def _follow(port: int, count: int, items: int, pause: float) -> list[float]:
    """Opens that many streams, spread over one pause, and reads them to their ends."""
    call = post(
        "/agents/ticks/invoke", {"count": items, "pause": pause}, headers=["Accept: application/x-ndjson"]
    )
    epoll = select.epoll()
    readers: dict[int, _Reader] = {}
    begun = time.monotonic()
    opened, left = 0, count
    while left and time.monotonic() < begun + 90:
        while opened < count and time.monotonic() >= begun + opened * pause / count:
            connection = socket.create_connection((HOST, port), timeout=10)
            connection.sendall(call.text)
            readers[connection.fileno()] = _Reader(connection)
            epoll.register(connection, select.EPOLLIN)
            opened += 1
        for number, _ in epoll.poll(0.001 if opened < count else 0.5):
            reader = readers[number]
            reader.read()
            if reader.done:
                epoll.unregister(number)
                reader.socket.close()
                left -= 1
    epoll.close()
    return [late for reader in readers.values() for late in reader.late_ms]
