"""Threads for plain functions, in a worker that also has async handlers or wants several calls at once.

Enters: calls. Leaves: each call, once, in `serve` on a thread without an event loop, or back to who took it.
"""

from __future__ import annotations

import queue
import threading
from typing import Callable

from pixell_runtime.context import Call


class Threads:
    """A fixed number of daemon threads with one line of calls that wait."""

    def __init__(self, count: int, serve: Callable[[Call], None]) -> None:
        self._count = count
        self._serve = serve
        self._line: queue.SimpleQueue[int] = queue.SimpleQueue()
        # Who pops a call from here owns it; the line only wakes the threads, in order.
        self._waiting: dict[int, Call] = {}

    def start(self) -> None:
        """Starts all threads, so that no call pays for it."""
        for index in range(self._count):
            threading.Thread(target=self._run, name=f"pixell-handler-{index}", daemon=True).start()

    def put(self, call: Call) -> None:
        """Lets a call wait for its turn."""
        ident = call.frame[2]
        self._waiting[ident] = call
        self._line.put(ident)

    def take_back(self, ident: int) -> bool:
        """Takes a call that has not started. False if it has, or is not here."""
        return self._waiting.pop(ident, None) is not None

    def take_back_all(self) -> list[int]:
        """Takes every call that has not started, the newest first."""
        return [ident for ident in reversed(tuple(self._waiting)) if self.take_back(ident)]

    def _run(self) -> None:
        while True:
            call = self._waiting.pop(self._line.get(), None)
            if call is not None:
                self._serve(call)
