"""Calls without a session, each in a process of its own.

Enters: the work of a call. Leaves: its answer, out of a fork of this worker that ends with the call. So code without a
session starts from nothing, and leaves nothing to the next caller: no module that it has changed, no thread, no
variable of the environment, and no process that it has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from pixell_runtime.adapters.python_executor.call import Said, Wire, Work, perform
from pixell_runtime.adapters.python_executor.space import Space
from pixell_runtime.binding import InputRefused
from pixell_runtime.context import CALL, SLOT
from pixell_runtime.randomness import reseed

#: How often it is looked whether the caller is still there.
_LOOK_SECONDS = 0.05

_READ_SIZE = 1 << 20

#: `linux/prctl.h`.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def perform_apart(work: Work, wire: Wire) -> Said:
    """Does the work in a fork. If the fork dies, so do we, and in the same way: whoever watches us knows the cause."""
    # What the code starts and leaves alone becomes our child.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = _children()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Our monitor thread holds no lock while it waits.
        warnings.simplefilter("ignore", DeprecationWarning)
        parent = os.getpid()
        child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(parent, work, wire.tell is not None, writing)
    os.close(writing)
    said = None
    try:
        for event in _events(reading, child, wire):
            if "said" in event or "refused" in event:
                # Nothing follows, and what the code has left behind may hold the pipe open.
                said = event
                break
            if wire.tell is not None and not wire.tell(event):
                os.kill(child, signal.SIGKILL)
                break
    finally:
        os.close(reading)
    _, status = os.waitpid(child, 0)
    _end_all(before)
    if said is None:
        return _follow(status, wire)
    if "refused" in said:
        raise InputRefused(said["refused"], said["errors"])
    found: Said = said["said"]
    return found


def _events(reading: int, child: int, wire: Wire) -> Iterator[dict[str, Any]]:
    """What the child says, until it is dead or its caller has left."""
    kept, dead = b"", False
    while True:
        if not select.select([reading], [], [], 0 if dead else _LOOK_SECONDS)[0]:
            if dead:
                return
            if wire.is_abandoned():
                os.kill(child, signal.SIGKILL)
                return
            dead = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            continue
        data = os.read(reading, _READ_SIZE)
        if not data:
            return
        *lines, kept = (kept + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _follow(status: int, wire: Wire) -> Said:
    code = os.waitstatus_to_exitcode(status)
    if wire.is_abandoned():
        return {"status": "error", "message": "the caller has left"}
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def _be_child(parent: int, work: Work, streams: bool, writing: int) -> NoReturn:
    """Nothing of the worker may go on here, whatever happens."""
    try:
        _end_with(parent)
        reseed()
        # The call's connection stays with the worker: nobody else is called from here.
        SLOT.frame = None
        CALL.set(None)

        def send(event: dict[str, Any]) -> bool:
            data = json.dumps(event).encode() + b"\n"
            while data:
                data = data[os.write(writing, data) :]
            return True

        wire = Wire(send if streams else None, lambda: False)
        try:
            send({"said": perform(work, Space(), wire)})
        except InputRefused as error:
            send({"refused": str(error), "errors": error.errors})
        os._exit(0)
    finally:
        os._exit(70)


def _end_with(parent: int) -> None:
    """A worker that is killed takes its children along; without ctypes, whoever has killed it looks for them."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(70)


def _end_all(before: set[int]) -> None:
    """Ends what a call has left behind. Each that dies may leave children of its own to us."""
    while left := _children() - before:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children() -> set[int]:
    """Our children; none where the kernel does not tell."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as file:
                found.update(int(pid) for pid in file.read().split())
    return found


def _prctl(option: int, argument: int) -> None:
    with contextlib.suppress(ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(option, argument)
