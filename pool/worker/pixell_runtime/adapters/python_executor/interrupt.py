"""Ending code whose caller has left.

Enters: the wish to interrupt, from another thread. Leaves: `KeyboardInterrupt` in the code, as if somebody had pressed
Ctrl-C: it ends waits too, and the session's state survives. Code that goes on nevertheless is asked again, and ended
with its process when its deadline has passed.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

#: Between two wishes: code that tidies up when it is interrupted needs a moment.
_AGAIN_SECONDS = 1.0


class Interruptible:
    """`with` it, code can be interrupted. Only the main thread can: signals are for it alone."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._running = False
        self._former: Any = None
        self._last = 0.0

    def __enter__(self) -> Interruptible:
        if self._is_main:
            self._former = signal.signal(signal.SIGINT, self._raise)
        self._running = True
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False
        if self._is_main:
            signal.signal(signal.SIGINT, self._former or signal.SIG_IGN)

    def interrupt(self) -> None:
        """From another thread. Does nothing if nothing runs, or a moment ago."""
        now = time.monotonic()
        if self._running and self._is_main and now - self._last > _AGAIN_SECONDS:
            self._last = now
            signal.pthread_kill(self._thread, signal.SIGINT)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        if self._running:
            raise KeyboardInterrupt("the caller has left")
