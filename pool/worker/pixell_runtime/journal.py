"""The memory file that survives a worker: which call started last, and which answers were not yet written.

Enters: ids of calls and finished frames. Leaves: the same, in memory that `par` can read after our death.
Not safe against several threads: `Channel` holds its lock around `add`, `pending` and `clear`.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap

from pixell_runtime.frames import HEADER, HEADER_LEN

#: Size of the file; `par` makes it.
JOURNAL_SIZE = 262_144

#: `linux/fcntl.h`; the module names neither before Python 3.8 nor `FUTURE_WRITE` at all.
F_ADD_SEALS = 1033
F_SEAL_FUTURE_WRITE = 0x0010

#: Where the finished frames begin, after `started` and `pending`.
FRAMES_AT = 16

#: Bit of `started`: the worker waits for calls. What else sleeps is a handler that waits for something.
RESTING = 1 << 63


class Journal:
    """A mapped journal. `words[0]` is `started`, `words[1]` is `pending`."""

    __slots__ = ("_bytes", "_map", "_tail", "words")

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, JOURNAL_SIZE)
        # From now on only this mapping writes: a handler that writes to every descriptor does no harm here.
        # A kernel before 5.1 does not know the seal, a file made without sealing refuses it.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
        self._bytes = memoryview(self._map)
        # Stores of one aligned 8-byte word: `par` never sees half of a number.
        self.words = self._bytes.cast("Q")
        self._tail = FRAMES_AT

    def add(self, kind: int, flags: int, call: int, a: int, meta: bytes, payload: bytes, b: int = 0) -> bool:
        """Keeps one finished frame. False if there is no room for it."""
        start = self._tail
        size = len(payload)
        if meta:
            size += len(meta)
        body = start + HEADER_LEN
        end = body + size
        if end > JOURNAL_SIZE:
            return False
        HEADER.pack_into(self._map, start, size, len(meta), kind, flags, call, a, b)
        if meta:
            split = body + len(meta)
            self._map[body:split] = meta
            body = split
        self._map[body:end] = payload
        # Only now, when the bytes are there, does the frame count.
        self.words[1] = end - FRAMES_AT
        self._tail = end
        return True

    @property
    def empty(self) -> bool:
        """Whether everything that was added has been written."""
        return self._tail == FRAMES_AT

    def pending(self) -> memoryview:
        """The frames that wait to be written."""
        return self._bytes[FRAMES_AT : self._tail]

    def clear(self) -> None:
        """Forgets the frames: they have been written."""
        self.words[1] = 0
        self._tail = FRAMES_AT
