"""What is written to stdout and stderr, by Python and by everything else in the process and its children.

Enters: bytes at the descriptors 1 and 2. Leaves: text, to whoever listens while a call runs, and to the worker's own
output (and so to the log) between calls: threads and children may outlive the call that has started them.

Both descriptors are pipes to ourselves, read by a thread. Code may replace `sys.stdout`, close it, close descriptors
or set them to something else: every call begins with all of it in its place again.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import select
import sys
import termios
import threading
import time
from typing import Callable

Listener = Callable[[str, str], None]

#: Where our descriptors are: code that closes "everything from 3 to 64" does not meet them.
_DESCRIPTOR_FROM = 200

#: Asked of the kernel for each pipe: what is printed meanwhile makes nobody wait for the reader.
_PIPE_SIZE = 1 << 20

_READ_SIZE = 65_536

#: How long what has begun to come is left to gather: `print` writes a text and its end apart, and each look costs the
#: code a switch of threads. Nobody waits for half a millisecond.
_GATHER_SECONDS = 0.0005

#: How often the reader looks whether the caller is still there.
_LOOK_SECONDS = 0.05


class _Pipe:
    """One descriptor of the process, caught."""

    def __init__(self, name: str, target: int) -> None:
        self.name = name
        self.target = target
        self.real = fcntl.fcntl(target, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTOR_FROM)
        self.reading, self.writing = _pipe()
        with contextlib.suppress(OSError):
            # Refused where a user has many pipes; then it is 64 KB.
            fcntl.fcntl(self.writing, getattr(fcntl, "F_SETPIPE_SZ", 1031), _PIPE_SIZE)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.stream = _stream(target)

    def put(self) -> None:
        """Puts it, and Python's stream on it, in their place."""
        os.dup2(self.writing, self.target)
        os.set_blocking(self.target, True)
        if self.stream.closed:
            self.stream = _stream(self.target)
        setattr(sys, self.name, self.stream)

    def waiting(self) -> int:
        """Bytes that were written and not read."""
        count = bytearray(4)
        fcntl.ioctl(self.reading, termios.FIONREAD, count)
        return int.from_bytes(count, sys.byteorder)

    def take(self, most: int) -> bytes:
        """What is there."""
        try:
            return os.read(self.reading, most)
        except BlockingIOError:
            return b""

    def text(self, data: bytes, *, final: bool = False) -> str:
        """Decoded; half a character waits for its other half."""
        return self._decoder.decode(data, final)

    def pass_by(self, data: bytes) -> None:
        """Writes to where the descriptor led before."""
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self.real, data) :]


class Capture:
    """The output of this process. Made at the first call, not before the fork."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._pipes = (_Pipe("stdout", 1), _Pipe("stderr", 2))
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._look: Callable[[], None] = _nothing
        # Ends the reader's wait when a call begins: between calls it looks for nobody.
        self._wake = _pipe()
        self._thread = threading.Thread(target=self._pump, name="pixell-output", daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """Whether this is the process that it was made in, and nobody has closed its descriptors."""
        return self._pid == os.getpid() and self._thread.is_alive()

    def begin(self, listener: Listener, look: Callable[[], None]) -> None:
        """From now on output is the call's: `listener(name, text)`. `look` is called now and then, by the reader."""
        for pipe in self._pipes:
            pipe.put()
        # There is nobody who could type: what reads gets the end.
        sys.stdin = io.StringIO()
        with self._lock:
            for pipe in self._pipes:
                # Written between the calls, by what earlier ones have left running.
                pipe.pass_by(pipe.take(pipe.waiting()))
            self._look = look
            self._listener = listener
        os.write(self._wake[1], b"w")

    def end(self) -> None:
        """Everything that was written before has been heard when this returns."""
        for pipe in self._pipes:
            with contextlib.suppress(Exception):
                # Of the code's own making, perhaps, in front of the descriptor.
                getattr(sys, pipe.name).flush()
            with contextlib.suppress(Exception):
                pipe.stream.flush()
        with self._lock:
            try:
                for pipe in self._pipes:
                    # No more than that: a child may never stop to write.
                    self._deliver(pipe, pipe.take(pipe.waiting()), final=True)
            finally:
                self._listener = None
                self._look = _nothing
        for pipe in self._pipes:
            pipe.put()

    def _deliver(self, pipe: _Pipe, data: bytes, *, final: bool = False) -> None:
        if self._listener is None:
            pipe.pass_by(data)
        elif text := pipe.text(data, final=final):
            self._listener(pipe.name, text)

    def _pump(self) -> None:
        readings = {pipe.reading: pipe for pipe in self._pipes}
        while True:
            wait = _LOOK_SECONDS if self._listener is not None else None
            try:
                ready, _, _ = select.select([*readings, self._wake[0]], [], [], wait)
                if ready:
                    time.sleep(_GATHER_SECONDS)
                with self._lock:
                    self._look()
                    for descriptor in ready:
                        if descriptor in readings:
                            pipe = readings[descriptor]
                            self._deliver(pipe, pipe.take(_READ_SIZE))
                        else:
                            os.read(descriptor, 1)
            except (OSError, ValueError):
                # Code has closed our descriptors; the next call makes everything anew.
                return


_capture: Capture | None = None


def capture() -> Capture:
    """The one of this process."""
    global _capture
    if _capture is None or not _capture.usable:
        _capture = Capture()
    return _capture


def _pipe() -> tuple[int, int]:
    """The end to read, which never blocks, and the one to write."""
    reading, writing = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTOR_FROM) for end in (reading, writing)]
    os.close(reading)
    os.close(writing)
    os.set_blocking(high[0], False)
    return high[0], high[1]


def _stream(target: int) -> io.TextIOWrapper:
    """As Python's own with `-u`: what is printed is written. Closing it leaves the descriptor open."""
    raw = io.FileIO(target, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def _nothing() -> None:
    return None
