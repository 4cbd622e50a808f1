"""The frames on the main and side sockets, as in `FRAMES.md`.

Enters: bytes from a stream socket. Leaves: frames as plain tuples, and frames as bytes.
Mirrors `proto/src/frames/`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection
from typing import Callable

#: `size`, `meta`, `kind`, `flags`, `call`, `a`, `b`, without padding.
HEADER = struct.Struct("<IHBBQII")
HEADER_LEN = HEADER.size

#: Most bytes that may follow a header; the same number as on the other side, which refuses more.
MAX_BODY = 64 * 1024 * 1024

#: Metadata is counted by a u16.
MAX_META = 0xFFFF

#: Times are sent as u32 microseconds; a handler that ran for longer than 71 minutes reports this.
MAX_MICROSECONDS = 0xFFFFFFFF


class Kind(enum.IntEnum):
    """What a frame says. Below 64 to the worker, from 64 on by it."""

    CALL = 1
    CANCEL = 2
    CREDIT = 3
    REPLY = 4
    RECALL = 5
    STOP = 6
    FORGET = 7
    READY = 64
    RESULT = 65
    ERROR = 66
    ITEM = 67
    END = 68
    RETURNED = 69
    CANCELLED = 70
    INVOKE = 71
    FAILED = 72
    CONSUMED = 73
    SPANS = 74
    USED = 75


#: What `par` may send on each of the two sockets. Answers come on the main socket where they were asked for there.
MAIN_KINDS = frozenset((int(Kind.CALL),))
ANSWERED_KINDS = MAIN_KINDS | {int(Kind.REPLY)}
SIDE_KINDS = frozenset(
    int(k) for k in (Kind.CANCEL, Kind.CREDIT, Kind.REPLY, Kind.RECALL, Kind.STOP, Kind.FORGET)
)
ALL_KINDS = frozenset(int(kind) for kind in Kind)

# Plain integers for the hot path: an attribute of an enum costs more than the comparison.
CALL = int(Kind.CALL)
REPLY = int(Kind.REPLY)
RESULT = int(Kind.RESULT)
ERROR = int(Kind.ERROR)
ITEM = int(Kind.ITEM)
END = int(Kind.END)
INVOKE = int(Kind.INVOKE)
CONSUMED = int(Kind.CONSUMED)
SPANS = int(Kind.SPANS)
USED = int(Kind.USED)
RETURNED = int(Kind.RETURNED)
CANCELLED = int(Kind.CANCELLED)

#: Flags of CALL: items may be sent one by one, those that are JSON, and those that are bytes and files.
STREAM = 1
PIECES = 2
#: Members of the input are files, as the metadata says.
FILES = 4
#: Its trace is kept, and spans of its handler are taken.
TRACED = 8

#: Flag of INVOKE, beside STREAM: the answer is read on the main socket.
ON_MAIN = 2

#: Flags of RESULT: the payload is bytes, not JSON; the payload is the array of a generator's items.
OCTETS = 1
LIST = 2

#: Flags of REPLY: the call failed; one item of many; the payload is bytes, not JSON.
REPLY_FAILED = 1
REPLY_ITEM = 2
REPLY_OCTETS = 4

#: `kind, flags, call, a, b, meta, payload, received`. A plain tuple, because a class costs 0.3 µs a call.
#: `received` is what the reader gave to `Decoder.feed`: monotonic nanoseconds of the receipt.
Frame = tuple[int, int, int, int, int, bytes, bytes, int]


class FrameError(Exception):
    """Bytes that are not a frame: the peer is broken."""


def encode(
    kind: int, flags: int = 0, call: int = 0, a: int = 0, b: int = 0, meta: bytes = b"", payload: bytes = b""
) -> bytes:
    """One frame as bytes. Callers bound `meta` and `payload`."""
    return HEADER.pack(len(meta) + len(payload), len(meta), kind, flags, call, a, b) + meta + payload


class Decoder:
    """Takes complete frames from a stream that arrives in pieces."""

    __slots__ = ("_have", "_need", "_parts", "accepted")

    def __init__(self, accepted: Collection[int] = ALL_KINDS) -> None:
        self.accepted = accepted
        # Pieces of a frame that is not complete yet. Joined once, when enough are there: joining at every
        # piece would copy a large input hundreds of times.
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def feed(self, data: bytes, received: int, emit: Callable[[Frame], object]) -> None:
        """Emits every frame that `data` completes. Raises `FrameError`; the decoder is useless after that."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        length = len(data)
        at = 0
        need = HEADER_LEN
        accepted = self.accepted
        unpack_from = HEADER.unpack_from
        while length - at >= HEADER_LEN:
            size, meta, kind, flags, call, a, b = unpack_from(data, at)
            if kind not in accepted:
                raise FrameError(f"frame kind {kind} is not expected here")
            if size > MAX_BODY:
                raise FrameError(f"frame of {size} bytes is over the limit")
            if meta > size:
                raise FrameError(f"{meta} bytes of metadata in a body of {size}")
            body = at + HEADER_LEN
            end = body + size
            if end > length:
                need = end - at
                break
            split = body + meta
            emit((kind, flags, call, a, b, data[body:split], data[split:end], received))
            at = end
        if at < length:
            rest = data[at:] if at else data
            self._parts.append(rest)
            self._have = len(rest)
            self._need = need
