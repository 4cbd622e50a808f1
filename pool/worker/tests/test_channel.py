"""The main socket as the thread sees it that waits there."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

from pixell_runtime.channel import Channel
from pixell_runtime.journal import JOURNAL_SIZE, Journal

READS = 20
BYTES = 100


def _slept(thread: int) -> int:
    """How often a thread of this process has gone to sleep."""
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def _sleeps(thread: int) -> bool:
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_worker_at_rest_is_not_woken_by_who_reads_its_answers() -> None:
    """Each read of the gateway tells of room; a thread in `recv` would be woken for nothing."""
    memory = os.memfd_create("journal")
    os.ftruncate(memory, JOURNAL_SIZE)
    ours, theirs = socket.socketpair()
    for _ in range(READS):
        ours.sendall(bytes(BYTES))
    channel = Channel(ours, Journal(memory))
    waiting = threading.Thread(target=channel.receive, daemon=True)
    waiting.start()
    thread = waiting.native_id
    assert thread
    while not (channel.receiving.locked() and _sleeps(thread)):
        time.sleep(0.001)
    before = _slept(thread)
    for _ in range(READS):
        assert len(theirs.recv(BYTES)) == BYTES
        # Time for a thread that is woken to go to sleep again, and so to be counted.
        time.sleep(0.002)
    assert _slept(thread) - before < READS // 2
    theirs.close()
    waiting.join()
    ours.close()
    os.close(memory)
