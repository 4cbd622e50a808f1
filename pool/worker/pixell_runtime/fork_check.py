"""Whether a process that has imported a package may be forked.

Enters: nothing; it looks at the own process. Leaves: the reasons against forking, as text, or None.
"""

from __future__ import annotations

import os
import socket
import time

#: A thread that ends itself at fork (OpenBLAS) may still be listed for a moment.
SETTLE_SECONDS = 0.05

#: Devices whose state does not survive a fork.
_DEVICES = ("/dev/nvidia", "/dev/kfd")


def trial_fork() -> None:
    """Forks once and ends the child: libraries that stop their threads before a fork do so now."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def reasons_against(control: int) -> str | None:
    """Threads, connected sockets and devices that a fork would break. `control` is our own socket."""
    found = _threads() + _descriptors(control)
    return "; ".join(found) if found else None


def _threads() -> list[str]:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        own = str(os.getpid())
        others = [task for task in os.listdir("/proc/self/task") if task != own]
        if not others or time.monotonic() > deadline:
            break
        time.sleep(0.002)
    return [f"thread {_thread_name(task)}" for task in others]


def _thread_name(task: str) -> str:
    try:
        with open(f"/proc/self/task/{task}/comm") as file:
            return file.read().strip()
    except OSError:
        return task


def _descriptors(control: int) -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the listing's own descriptor
        if target.startswith(_DEVICES):
            found.append(f"device {target}")
        elif target.startswith("socket:") and descriptor != control:
            peer = _peer(descriptor)
            if peer is not None:
                found.append(f"connected socket to {peer}")
    return found


def _peer(descriptor: int) -> str | None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            address = copy.getpeername()
    except OSError:
        return None
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2])
    return str(address) or "an unnamed peer"
