"""The thread that listens to the side socket while the main thread may be busy in a handler.

Enters: CANCEL, CREDIT, FORGET, RECALL, REPLY and STOP. Leaves: calls of the worker's `Serving` half, and answers to
calls that handlers make. The end of the socket ends the process at once.
"""

from __future__ import annotations

import _thread
import json
import os
import socket
import threading
import traceback
from typing import Protocol

from pixell_runtime.calls import Calls
from pixell_runtime.channel import EXIT_BROKEN
from pixell_runtime.context import forget
from pixell_runtime.frames import SIDE_KINDS, Decoder, Frame, FrameError, Kind

_RECEIVE_SIZE = 65_536


class Serving(Protocol):
    """What a monitor may ask of a worker, from its own thread."""

    def recall(self) -> None:
        """Give back every call that has not started."""

    def cancel(self, ident: int) -> None:
        """The caller of this call has left."""

    def credit(self, ident: int, amount: int) -> None:
        """The caller of this call has taken so many bytes of its items."""

    def stop(self) -> None:
        """Finish what was received, then exit."""


class Monitor:
    """Started before the agent's code runs: a worker that hangs in an import still ends with `par`."""

    def __init__(self, side: socket.socket, calls: Calls) -> None:
        self._side = side
        self._calls = calls
        self._worker: Serving | None = None
        self._attached = threading.Event()

    def start(self) -> None:
        """Begins to listen. A `threading.Thread` waits here until it runs: for a core of its own if one is idle, for its
        turn on a full machine, and the first call of the worker with it."""
        _thread.start_new_thread(self._run, ())

    def attach(self, worker: Serving) -> None:
        """From now on commands are obeyed."""
        self._worker = worker
        self._attached.set()

    def _run(self) -> None:
        decoder = Decoder(SIDE_KINDS)
        frames: list[Frame] = []
        try:
            while True:
                data = self._side.recv(_RECEIVE_SIZE)
                if not data:
                    os._exit(0)
                decoder.feed(data, 0, frames.append)
                for frame in frames:
                    self._obey(frame)
                frames.clear()
        except (OSError, FrameError, ValueError, LookupError):
            os._exit(EXIT_BROKEN)
        except BaseException:
            # Without this thread no command would reach the worker, and it would outlive `par`.
            traceback.print_exc()
            os._exit(EXIT_BROKEN)

    def _obey(self, frame: Frame) -> None:
        self._attached.wait()
        worker = self._worker
        if worker is None:
            return
        kind, ident = frame[0], frame[2]
        if kind == Kind.RECALL:
            worker.recall()
        elif kind == Kind.CANCEL:
            worker.cancel(ident)
        elif kind == Kind.STOP:
            worker.stop()
        elif kind == Kind.CREDIT:
            worker.credit(ident, frame[3])
        elif kind == Kind.REPLY:
            self._calls.reply(frame)
        elif kind == Kind.FORGET:
            forget(json.loads(frame[5])["session"])
