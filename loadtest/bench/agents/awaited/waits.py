"""Waits on an event loop as short as they are asked for; one file for the peers and for the `awaited` agent of PAR.

`asyncio.sleep` does not do it: loops count milliseconds. uvloop rounds to the nearest, so that up to half of one is no
wait at all (2 µs instead of 200), and asyncio rounds up (1.1 ms instead of 0.2). A timer of the kernel is waited for
like the answer of a service: the loop sleeps until its descriptor can be read.
"""

from __future__ import annotations

import asyncio
import ctypes
import os

CLOCK_MONOTONIC = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class _Itimerspec(ctypes.Structure):
    """timerfd_settime(2): interval and first expiration, in seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class _Timer:
    """One descriptor that a loop watches."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._spec = _Itimerspec()
        self._ringing: asyncio.Future[None] | None = None
        self._fd = LIBC.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._fd, self._ring)

    async def wait(self, microseconds: int) -> None:
        """Return so many microseconds later; at least one."""
        seconds, rest = divmod(max(microseconds, 1), 1_000_000)
        self._spec.value_s, self._spec.value_ns = seconds, rest * 1000
        self._ringing = self._loop.create_future()
        if LIBC.timerfd_settime(self._fd, 0, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        await self._ringing

    def close(self) -> None:
        """Of no use any more."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        os.read(self._fd, 8)
        if self._ringing is not None and not self._ringing.done():
            self._ringing.set_result(None)


FREE: list[_Timer] = []


async def wait(microseconds: int) -> None:
    """Wait as an asynchronous client of some service would."""
    timer = FREE.pop() if FREE else _Timer(asyncio.get_running_loop())
    try:
        await timer.wait(microseconds)
    except BaseException:
        # It is still set.
        timer.close()
        raise
    FREE.append(timer)
