"""Files that come with a call.

Enters: an input that has, in the place of each file, what is known of it, and the metadata that says where they
are. Leaves: the same input with a `ReceivedFile` in each of those places.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

#: Bytes of one piece when a file is read piece by piece.
PIECE = 64 * 1024


class ReceivedFile:
    """A file that the caller has sent. It is gone when the call is over: who needs it longer copies it. A path-like
    object: `open`, `pandas.read_csv` and the like take it as it is."""

    __slots__ = ("_stream", "content_type", "field", "name", "path", "size")

    def __init__(self, field: str, path: str, name: str, content_type: str, size: int) -> None:
        #: The field of the form.
        self.field = field
        #: Where it is, for reading only.
        self.path = path
        #: The client's name of it, without folders.
        self.name = name
        #: As the client says.
        self.content_type = content_type
        #: In bytes.
        self.size = size
        self._stream: io.BufferedReader | None = None

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<ReceivedFile {self.name!r} {self.content_type} {self.size} bytes>"

    @property
    def facts(self) -> dict[str, Any]:
        """What the input says of it."""
        return {"name": self.name, "content_type": self.content_type, "size": self.size}

    def open(self) -> io.BufferedReader:
        """A new binary stream of it."""
        return open(self.path, "rb")

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, all that are left by default; empty at the end."""
        if self._stream is None:
            self._stream = self.open()
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets where `read` goes on."""
        if self._stream is None:
            self._stream = self.open()
        return self._stream.seek(offset, whence)

    async def aread(self, size: int = -1) -> bytes:
        """`read`, without holding up the loop."""
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(None, self.read, size)

    def __iter__(self) -> Iterator[bytes]:
        """Its bytes from the beginning, piece by piece."""
        with self.open() as stream:
            while piece := stream.read(PIECE):
                yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its bytes from the beginning, piece by piece, without holding up the loop."""
        import asyncio

        run = asyncio.get_running_loop().run_in_executor
        with await run(None, self.open) as stream:
            while piece := await run(None, stream.read, PIECE):
                yield piece


def received(value: Any, meta: bytes) -> Any:
    """The input of a call that comes with files."""
    files = json.loads(meta)["files"]
    directory = files["directory"]
    for field, names in files["members"]:
        about = value[field]
        if len(names) == 1:
            value[field] = _file(field, directory, names[0], about)
        else:
            value[field] = [_file(field, directory, name, facts) for name, facts in zip(names, about)]
    return value


def _file(field: str, directory: str, name: str, facts: dict[str, Any]) -> ReceivedFile:
    path = f"{directory}/{name}"
    return ReceivedFile(field, path, facts["name"], facts["content_type"], facts["size"])
