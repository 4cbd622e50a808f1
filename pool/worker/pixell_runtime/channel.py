"""The main socket of a worker, with the journal in front of it.

Enters: bytes from `par`, and the endings of calls. Leaves: decoded calls in `calls`, and frames to `par`,
many with one system call. A socket that fails ends the process: without it a worker has no purpose.

Two locks. `receiving` is held while bytes are read and decoded, so that the monitor thread can take over the
reading from a main thread that is busy in a handler. `sending` is held while frames are added or written.
Who takes a call out of `calls` owns it: that one atomic step decides between starting and giving back.

A handler on the thread that reads this socket waits here for the answers to calls of its own: on the side socket
the monitor would have to wake it. While any are due the socket is not ended, or they would be cut off.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from typing import Callable, NoReturn

from pixell_runtime.frames import (
    ANSWERED_KINDS,
    CANCELLED,
    HEADER,
    MAIN_KINDS,
    MAX_META,
    REPLY,
    RETURNED,
    Decoder,
    Frame,
    FrameError,
)
from pixell_runtime.journal import Journal

#: Bytes asked of one `recv`: more than the default buffer of a Unix socket holds would be waste, much less
#: would split a full window of ordinary inputs.
RECEIVE_SIZE = 65_536

#: How long the monitor waits for a main thread that waits in `receive`: long enough for one that has just received
#: to decode, short enough not to delay the next command. After it, the main thread is idle.
IDLE_SECONDS = 0.01

#: The same for one in which a handler waits there for an answer: who calls it meanwhile should not wait with it.
WAITING_SECONDS = 0.001

#: Exit code of a worker whose sockets or frames are broken.
EXIT_BROKEN = 70


def _at_once() -> None:
    """Waits for nothing: `recv` does."""


class Channel:
    """One per worker. Methods may be called from every thread."""

    __slots__ = (
        "_answer",
        "_arrival",
        "_decoder",
        "_due",
        "_ending",
        "_main",
        "_others",
        "_sink",
        "calls",
        "forked",
        "journal",
        "looper",
        "reader",
        "receiving",
        "sending",
    )

    def __init__(self, main: socket.socket, journal: Journal, others: tuple[socket.socket, ...] = ()) -> None:
        self._main = main
        self._others = others
        self._decoder = Decoder(MAIN_KINDS)
        self.journal = journal
        self.calls: deque[Frame] = deque()
        self._sink: Callable[[Frame], object] = self.calls.append
        self._answer: Callable[[Frame], object] | None = None
        # Answers that are to come here, as the reading thread counts them, and whether the reading is to end.
        self._due = 0
        self._ending = False
        #: The thread that blocks to read, and the one whose loop reads. 0: there is none.
        self.reader = 0
        self.looper = 0
        self.receiving = threading.Lock()
        self.sending = threading.Lock()
        #: True in a process that a handler has forked: nothing of the worker may go on there.
        self.forked = False
        main.setblocking(True)
        # A thread in `recv` is woken by every read at the other end, too; one in `poll` only by what it waits for.
        # Some packages take `poll` away, for they replace what waits by what gives way to others.
        poll = getattr(select, "poll", None)
        arrival = poll() if poll else None
        if arrival:
            arrival.register(main, select.POLLIN)
        self._arrival: Callable[[], object] = arrival.poll if arrival else _at_once
        os.register_at_fork(after_in_child=self._abandon)

    def fileno(self) -> int:
        """The main socket's descriptor, for an event loop."""
        return self._main.fileno()

    # Receiving

    def receive(self) -> bool:
        """Blocks until bytes have come. False at the end of the stream."""
        with self.receiving:
            if self.calls:
                # The monitor was reading while we waited for the lock.
                return True
            try:
                self._arrival()
                data = self._main.recv(RECEIVE_SIZE)
            except OSError as error:
                self.broken(error)
            return self._decode(data)

    def receive_now(self) -> bool:
        """Takes what is there without blocking. False at the end of the stream."""
        with self.receiving:
            return self._receive_now()

    def expect(self, answer: Callable[[Frame], object]) -> bool:
        """For the reading thread: one more answer may be asked for on this socket, and comes to `answer`. False if
        not: the reading is to end, or somebody reads just now, perhaps this thread itself in a finaliser."""
        self._due += 1
        if self._ending or self.receiving.locked():
            self.settled()
            return False
        if self._answer is None:
            self._answer = answer
            self._decoder.accepted = ANSWERED_KINDS
            self._sink = self._sort
        return True

    def settled(self) -> None:
        """For the reading thread: nobody waits for that answer any longer."""
        self._due -= 1
        if self._ending and not self._due:
            self._shut()

    def receive_until(self, done: Callable[[], bool]) -> bool:
        """Reads until `done()`. False at the end of the stream."""
        while not done():
            with self.receiving:
                # The monitor may have read it while we waited for the lock.
                if done():
                    return True
                try:
                    self._arrival()
                    data = self._main.recv(RECEIVE_SIZE)
                except OSError as error:
                    self.broken(error)
                if not self._decode(data):
                    return False
        return True

    def drain(self) -> bool:
        """For the monitor: takes what is unread. False if the main thread is idle: then nothing is."""
        # A handler that waits for an answer waits there, too, but calls may be behind it.
        if not self.receiving.acquire(timeout=WAITING_SECONDS if self._due else IDLE_SECONDS):
            return bool(self._due)
        try:
            self._receive_now()
        finally:
            self.receiving.release()
        return True

    def take_back(self, ident: int) -> bool:
        """Takes a call that has not started out of `calls`. False if it is not there."""
        for frame in tuple(self.calls):
            if frame[2] == ident:
                try:
                    self.calls.remove(frame)
                except ValueError:
                    return False
                return True
        return False

    def take_back_all(self) -> list[int]:
        """Takes every call that has not started out of `calls`, the newest first."""
        taken = []
        while True:
            try:
                taken.append(self.calls.pop()[2])
            except IndexError:
                return taken

    def end_receiving(self) -> None:
        """What is unread can still be read, then the stream ends. Wakes a blocked `receive`."""
        self._ending = True
        if not self._due:
            self._shut()

    def _shut(self) -> None:
        try:
            self._main.shutdown(socket.SHUT_RD)
        except OSError as error:
            self.broken(error)

    def _receive_now(self) -> bool:
        try:
            data = self._main.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError as error:
            self.broken(error)
        return self._decode(data)

    def _decode(self, data: bytes) -> bool:
        if not data:
            return False
        try:
            self._decoder.feed(data, time.monotonic_ns(), self._sink)
        except FrameError as error:
            self.broken(error)
        return True

    def _sort(self, frame: Frame) -> None:
        if frame[0] != REPLY:
            self.calls.append(frame)
        elif self._answer is not None:
            self._answer(frame)

    # Sending

    def add(self, kind: int, flags: int, call: int, a: int, meta: bytes, payload: bytes, b: int = 0) -> None:
        """Keeps a finished frame until the next `flush`; writes it directly if the journal cannot hold it."""
        if self.forked:
            os._exit(0)
        with self.sending:
            if self.journal.add(kind, flags, call, a, meta, payload, b):
                return
            self._write_pending()
            if self.journal.add(kind, flags, call, a, meta, payload, b):
                return
            header = HEADER.pack(len(meta) + len(payload), len(meta), kind, flags, call, a, b)
            self._write(header + meta)
            self._write(payload)

    def flush(self) -> None:
        """Writes what `add` has kept."""
        if self.forked:
            os._exit(0)
        if self.journal.empty:
            return
        with self.sending:
            self._write_pending()

    def send(self, kind: int, call: int, meta: bytes = b"", payload: bytes = b"") -> None:
        """Adds and flushes."""
        self.add(kind, 0, call, 0, meta[:MAX_META], payload)
        self.flush()

    def returned(self, calls: list[int]) -> None:
        """Gives calls back, and writes every finished answer with them."""
        for call in calls:
            self.add(RETURNED, 0, call, 0, b"", b"")
        self.flush()

    def cancelled(self, call: int) -> None:
        """Ends a call that was cancelled before it started."""
        self.send(CANCELLED, call)

    def _write_pending(self) -> None:
        if not self.journal.empty:
            self._write(self.journal.pending())
            self.journal.clear()

    def _write(self, data: bytes | memoryview) -> None:
        try:
            sent = self._main.send(data)
            if sent < len(data):
                # Only a signal cuts a blocking write short.
                self._main.sendall(memoryview(data)[sent:])
        except OSError as error:
            self.broken(error)

    # Ends

    def broken(self, error: Exception) -> NoReturn:
        """The connection to `par` is of no more use. Nothing can be said there, so it is said on stderr."""
        if not self.forked:
            text = f"pixell_runtime: the worker's connection is broken: {type(error).__name__}: {error}\n"
            try:
                os.write(2, text.encode("utf-8", "replace"))
            except OSError:
                os._exit(EXIT_BROKEN)
        os._exit(EXIT_BROKEN)

    def _abandon(self) -> None:
        self.forked = True
        # Copies held by a handler's child would keep `par` from seeing the end of the worker.
        for held in (self._main, *self._others):
            held.close()
