"""What each kind of fault does, and how it is taken back."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench import process

from .caller import hold
from .clockwork import Clockwork
from .disk import Disk
from .ends import Ends
from .host import Host, templates, workers
from .outcomes import Window
from .plan import ENDS, RELEASES, Fault, Kind, Mode
from .shelf import Shelf

# Of PAR's address space beyond what it has: what it has freed it may use again, and nothing else.
ROOM_OF_PAR = 0
# A worker may go on, but not take what `hungry` asks for.
ROOM_OF_A_WORKER = 4 << 20
# Descriptors that PAR may still open.
ROOM_OF_DESCRIPTORS = 3
MOST_CONNECTIONS = 700


@dataclass
class Stage:
    """All that can be broken, and when it was."""

    host: Host
    ends: Ends
    shelf: Shelf
    disk: Disk
    clockwork: Clockwork | None
    windows: list[Window] = field(default_factory=list)
    # What each fault has met, by its number.
    met: dict[int, str] = field(default_factory=dict)

    async def apply(self, fault: Fault) -> None:
        """Do it, hold it for its time, take it back, and write down from when to when it was there."""
        begin = self.host.clock()
        try:
            self.met[fault.number] = await _effect(fault.kind)(self, fault)
        finally:
            self.windows.append(Window(fault.kind, begin, self.host.clock()))


Effect = Callable[[Stage, Fault], Awaitable[str]]


def _effect(kind: Kind) -> Effect:
    if kind in ENDS:
        return _end
    return _release if kind in RELEASES else EFFECTS[kind]


def _chosen(pids: Sequence[int], fault: Fault) -> int | None:
    return pids[fault.victim % len(pids)] if pids else None


async def _killed(pid: int | None) -> str:
    if pid is None:
        return "nobody there"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return f"pid {pid}"


async def _stopped(pid: int | None, seconds: float) -> str:
    if pid is None:
        return "nobody there"
    before = process.stat(pid)
    try:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        now = process.stat(pid)
        if before and now and before.started == now.started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return f"pid {pid}"


async def _worker_kill(stage: Stage, fault: Fault) -> str:
    return await _killed(_chosen(workers(stage.host.pid), fault))


async def _worker_stop(stage: Stage, fault: Fault) -> str:
    return await _stopped(_chosen(workers(stage.host.pid), fault), fault.seconds)


async def _template_kill(stage: Stage, fault: Fault) -> str:
    return await _killed(_chosen(templates(stage.host.pid), fault))


async def _template_stop(stage: Stage, fault: Fault) -> str:
    return await _stopped(_chosen(templates(stage.host.pid), fault), fault.seconds)


async def _par_kill(stage: Stage, _fault: Fault) -> str:
    pid = stage.host.pid
    stage.host.signal(signal.SIGKILL)
    return f"pid {pid}"


async def _par_stop(stage: Stage, fault: Fault) -> str:
    return await _stopped(stage.host.pid, fault.seconds)


async def _par_restart(stage: Stage, _fault: Fault) -> str:
    """The fault lasts as long as its end does: calls that run are finished."""
    pid = stage.host.pid
    stage.host.signal(signal.SIGTERM)
    while process.stat(pid) is not None and stage.host.pid == pid:
        await asyncio.sleep(0.02)
    return f"pid {pid}"


async def _par_memory(stage: Stage, fault: Fault) -> str:
    pid = stage.host.pid
    room = _address_space(pid) + ROOM_OF_PAR
    return await _limited(pid, resource.RLIMIT_AS, room, fault.seconds)


async def _worker_memory(stage: Stage, fault: Fault) -> str:
    pid = _chosen(workers(stage.host.pid), fault)
    if pid is None:
        return "nobody there"
    return await _limited(pid, resource.RLIMIT_AS, _address_space(pid) + ROOM_OF_A_WORKER, fault.seconds)


async def _descriptors(stage: Stage, fault: Fault) -> str:
    pid = stage.host.pid
    # Numbers count, not how many there are: the limit is for the next number.
    with suppress(OSError):
        open_now = len(os.listdir(f"/proc/{pid}/fd")) + ROOM_OF_DESCRIPTORS
        return await _limited(pid, resource.RLIMIT_NOFILE, open_now, fault.seconds)
    return "nobody there"


async def _limited(pid: int, what: int, soft: int, seconds: float) -> str:
    """A lower soft limit for so long; children that were made meanwhile get the former one back, too."""
    try:
        before = resource.prlimit(pid, what)
        resource.prlimit(pid, what, (soft, before[1]))
    except ProcessLookupError:
        return "nobody there"
    try:
        await asyncio.sleep(seconds)
    finally:
        for entry in process.tree(pid):
            with suppress(ProcessLookupError):
                now = resource.prlimit(entry.pid, what)
                if now[0] == soft:
                    resource.prlimit(entry.pid, what, (before[0], now[1]))
    return f"pid {pid}, at most {soft:,}"


async def _connections(stage: Stage, fault: Fault) -> str:
    taken = await hold(stage.host.port, MOST_CONNECTIONS, fault.seconds)
    return f"{taken} idle connections were taken"


async def _disk_full(stage: Stage, fault: Fault) -> str:
    await stage.disk.full(fault.seconds)
    return "no room"


async def _clock(stage: Stage, fault: Fault) -> str:
    assert stage.clockwork is not None
    stage.clockwork.set(int(fault.detail))
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        stage.clockwork.set(0)
    return f"{fault.detail} s"


async def _end(stage: Stage, fault: Fault) -> str:
    door = stage.ends.doors[fault.kind]
    await door.break_(Mode(fault.detail))
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await door.open()
    return fault.detail


async def _release(stage: Stage, fault: Fault) -> str:
    release = await asyncio.to_thread(stage.shelf.publish, fault.kind)
    await asyncio.sleep(fault.seconds)
    if release.is_bad:
        await asyncio.to_thread(stage.shelf.take_back)
    return release.version


def _address_space(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    except (OSError, IndexError):
        return 1 << 30
    return pages * os.sysconf("SC_PAGE_SIZE")


EFFECTS: dict[Kind, Effect] = {
    Kind.WORKER_KILL: _worker_kill,
    Kind.WORKER_STOP: _worker_stop,
    Kind.WORKER_MEMORY: _worker_memory,
    Kind.TEMPLATE_KILL: _template_kill,
    Kind.TEMPLATE_STOP: _template_stop,
    Kind.PAR_KILL: _par_kill,
    Kind.PAR_STOP: _par_stop,
    Kind.PAR_RESTART: _par_restart,
    Kind.PAR_MEMORY: _par_memory,
    Kind.DISK_FULL: _disk_full,
    Kind.DESCRIPTORS: _descriptors,
    Kind.CONNECTIONS: _connections,
    Kind.CLOCK: _clock,
}
