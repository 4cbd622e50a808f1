"""What a machine takes to wake four processes one after the other: a byte goes round, and nothing is done with it."""

from __future__ import annotations

import os
import socket
import time

#: A call between agents wakes the gateway, the other agent's worker, the gateway, and the one that waits.
PROCESSES = 4


def round_trips(count: int, rate: int) -> list[float]:
    """Microseconds of each trip; `rate` of them a second, or 0: without a pause."""
    links = [socket.socketpair() for _ in range(PROCESSES)]
    children = []
    for number in range(1, PROCESSES):
        child = os.fork()
        if not child:
            _pass_on(links[number - 1][1], links[number][0], links)
        children.append(child)
    (out, _), (_, back) = links[0], links[-1]
    took = []
    start = time.perf_counter()
    for number in range(count):
        if rate and (early := start + number / rate - time.perf_counter()) > 0:
            time.sleep(early)
        begun = time.perf_counter_ns()
        out.send(b"x")
        back.recv(1)
        took.append((time.perf_counter_ns() - begun) / 1000)
    for link in links:
        for end in link:
            end.close()
    for child in children:
        os.waitpid(child, 0)
    return took


def _pass_on(
    source: socket.socket, target: socket.socket, links: list[tuple[socket.socket, socket.socket]]
) -> None:
    for link in links:
        for end in link:
            if end not in (source, target):
                end.close()
    while source.recv(1):
        target.send(b"x")
    os._exit(0)
