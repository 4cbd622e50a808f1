"""Files that handlers return.

Enters: a `File` or a path. Leaves: what is known of it, and its bytes piece by piece.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, NamedTuple

from pixell_runtime.failures import clip
from pixell_runtime.files import PIECE, ReceivedFile

#: What is told of a file: `content_type`, and where it is known `length`, `name` and `disposition`.
About = dict[str, Any]

OCTETS_TYPE = "application/octet-stream"

#: Bytes of a name. It becomes a header.
_LONGEST_NAME = 1024

_DISPOSITIONS = ("attachment", "inline")


class File:
    """A result that is a file.

    Exactly one of `path` (a file that this process may read), `data` (bytes) and `chunks` (an iterable or async
    iterable of bytes) says what is in it. `name` is what the caller may call it; a path has one of its own.
    `content_type` is guessed from the name where it is not given. `disposition` is "attachment", or "inline" for what
    a browser shall show; "attachment" is the default where there is a name."""

    __slots__ = ("chunks", "content_type", "data", "disposition", "name", "path")

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        data: bytes | bytearray | memoryview | None = None,
        chunks: Iterable[bytes] | AsyncIterable[bytes] | None = None,
        content_type: str | None = None,
        name: str | None = None,
        disposition: str | None = None,
    ) -> None:
        if sum(source is not None for source in (path, data, chunks)) != 1:
            raise TypeError("a File is made of exactly one of path, data and chunks")
        if disposition is not None and disposition not in _DISPOSITIONS:
            raise ValueError(f"disposition is {' or '.join(_DISPOSITIONS)}, not {disposition!r}")
        if isinstance(path, ReceivedFile):
            name = path.name if name is None else name
            content_type = path.content_type if content_type is None else content_type
        self.path = None if path is None else os.fspath(path)
        self.data = data
        self.chunks = chunks
        self.content_type = content_type
        self.name = os.path.basename(self.path) if name is None and self.path is not None else name
        self.disposition = disposition


class Outgoing(NamedTuple):
    """A file on its way. `whole` are its bytes if they are few, else `pieces` gives them."""

    about: About
    whole: bytes | None
    pieces: Iterator[bytes] | AsyncIterator[bytes]


def is_file(value: Any) -> bool:
    """Whether a result is sent as a file. One that was received is, as in JSON, what is known of it."""
    return isinstance(value, (File, os.PathLike)) and not isinstance(value, ReceivedFile)


def is_async(value: Any) -> bool:
    """Whether the bytes of a result come asynchronously."""
    return isinstance(value, File) and isinstance(value.chunks, AsyncIterable)


def outgoing(value: Any) -> Outgoing:
    """What is sent for a result that `is_file`. Raises what opening it raises."""
    if not isinstance(value, File):
        value = File(value)
    about = _about(value)
    if value.data is not None:
        data = bytes(value.data)
        about["length"] = len(data)
        return Outgoing(about, data, iter(()))
    if value.path is None:
        return Outgoing(about, None, _iterate(value.chunks))
    # Without waiting for a pipe that nobody writes to.
    descriptor = os.open(value.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{value.path} is not a regular file")
    # Closed with its last reference, whether or not somebody has begun to read.
    stream = io.FileIO(descriptor, "rb")
    about["length"] = status.st_size
    pieces = _read(stream, value.path, status.st_size)
    if status.st_size <= PIECE:
        return Outgoing(about, b"".join(pieces), iter(()))
    return Outgoing(about, None, pieces)


def _guess(name: str) -> str | None:
    # 4 ms, of which most packages need nothing.
    import mimetypes

    guessed, packed = mimetypes.guess_type(name)
    return f"application/{packed}" if packed else guessed


def _iterate(chunks: Any) -> Iterator[bytes] | AsyncIterator[bytes]:
    items: Iterator[bytes] | AsyncIterator[bytes]
    # `aiter` is known from Python 3.10 on.
    items = type(chunks).__aiter__(chunks) if isinstance(chunks, AsyncIterable) else iter(chunks)
    return items


def _about(value: File) -> About:
    content_type = value.content_type
    if content_type is None and value.name is not None:
        content_type = _guess(value.name)
    about: About = {"content_type": content_type or OCTETS_TYPE}
    if value.name is not None:
        about["name"] = clip(value.name, _LONGEST_NAME)
    if value.disposition is not None:
        about["disposition"] = value.disposition
    return about


def _read(stream: io.FileIO, path: str, size: int) -> Iterator[bytes]:
    """The first `size` bytes: its length is told before."""
    left = size
    with stream:
        while left:
            piece = stream.read(min(PIECE, left))
            if not piece:
                raise OSError(f"{path} has become shorter while it was read")
            left -= len(piece)
            yield piece
