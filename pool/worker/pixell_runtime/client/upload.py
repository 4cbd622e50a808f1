"""Files on their way to an agent, as parts of `multipart/form-data`.

Enters: arguments, some of which are `Upload`s. Leaves: JSON for the rest of them, and the parts, read while they
are sent.
"""

from __future__ import annotations

import io
import json
import mimetypes
import os
import secrets
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

#: Bytes of a file that are read, and sent, at once.
PIECE = 256 * 1024


class Readable(Protocol):
    """What files are sent from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""

    def close(self) -> None:
        """No more is read."""


class Upload:
    """A file for an agent: its bytes, or a path, or an open binary file that can be read again.

    `name` is what the agent sees as the file's name; `content_type` what it is taken for.
    """

    __slots__ = ("_source", "content_type", "name")

    def __init__(
        self,
        source: bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO,
        name: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if isinstance(source, (bytearray, memoryview)):
            source = bytes(source)
        if not isinstance(source, bytes):
            guessed = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
            if name is None and isinstance(guessed, (str, os.PathLike)):
                name = os.path.basename(os.fspath(guessed))
        self._source = source
        self.name = name or "file"
        self.content_type = content_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def open(self) -> tuple[Readable, int]:
        """The bytes from their begin, and how many there are."""
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source), len(self._source)
        if isinstance(self._source, (str, os.PathLike)):
            opened = open(self._source, "rb")  # noqa: SIM115 - closed by who sends it
            return opened, os.fstat(opened.fileno()).st_size
        end = self._source.seek(0, os.SEEK_END)
        self._source.seek(0)
        return _Borrowed(self._source), end

    def __repr__(self) -> str:
        return f"Upload(name={self.name!r}, content_type={self.content_type!r})"


class _Borrowed:
    """Somebody else's file: closing this one leaves it open."""

    def __init__(self, lent: BinaryIO) -> None:
        self._lent = lent

    def read(self, size: int, /) -> bytes:
        return self._lent.read(size)

    def close(self) -> None:
        """Its owner does that."""


class Multipart:
    """A body of several parts. It can be sent again: files are opened anew each time."""

    def __init__(self, rest: Any, files: list[tuple[str, Upload]]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._begin = b""
        if rest is not None:
            text = json.dumps(rest, separators=(",", ":"), allow_nan=False).encode()
            self._begin = _part(boundary, 'name="input"', "application/json") + text + b"\r\n"
        self._files = [(_head(boundary, field, upload), upload) for field, upload in files]
        self._end = f"--{boundary}--\r\n".encode()

    def opened(self) -> tuple[int, Iterator[bytes]]:
        """Length of the body, and its pieces."""
        sources = []
        try:
            for head, upload in self._files:
                sources.append((head, *upload.open()))
        except BaseException:
            for _, file, _ in sources:
                file.close()
            raise
        length = len(self._begin) + len(self._end)
        length += sum(len(head) + size + 2 for head, _, size in sources)
        return length, self._pieces(sources)

    def _pieces(self, sources: list[tuple[bytes, Readable, int]]) -> Iterator[bytes]:
        try:
            if self._begin:
                yield self._begin
            for head, file, size in sources:
                yield head
                left = size
                while left > 0:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise OSError("a file has become shorter while it was sent")
                    left -= len(piece)
                    yield piece
                yield b"\r\n"
            yield self._end
        finally:
            for _, file, _ in sources:
                file.close()


def _head(boundary: str, field: str, upload: Upload) -> bytes:
    disposition = f'name="{_quoted(field)}"; filename="{_quoted(upload.name)}"'
    return _part(boundary, disposition, upload.content_type)


def _part(boundary: str, disposition: str, content_type: str) -> bytes:
    if any(byte in content_type for byte in "\r\n\0"):
        raise ValueError(f"no content type: {content_type!r}")
    return (
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
    ).encode()


def _quoted(text: str) -> str:
    """As browsers write names (WHATWG HTML, multipart/form-data)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def split(arguments: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Upload]]]:
    """Arguments that are JSON, and files by the name of their argument. A list of files is an argument, too."""
    files: list[tuple[str, Upload]] = []
    rest: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, Upload):
            files.append((name, value))
        elif isinstance(value, (list, tuple)) and value and all(isinstance(one, Upload) for one in value):
            files.extend((name, one) for one in value)
        else:
            rest[name] = value
    return rest, files
