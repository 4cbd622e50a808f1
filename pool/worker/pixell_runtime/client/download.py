"""Results that are no JSON: bytes, or a file of the agent's.

Enters: a reply. Leaves: its bytes, all at once or as they come, or a file on disk.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from email.message import Message
from types import TracebackType
from typing import Any, Generic, TypeVar, Union
from urllib.parse import unquote

from pixell_runtime.client import blocking, looping
from pixell_runtime.client.answer import Head

R = TypeVar("R", bound=Union[blocking.Reply, looping.Reply])
D = TypeVar("D", bound="Download")
A = TypeVar("A", bound="AsyncDownload")


class _File(Generic[R]):
    """What is known before the bytes."""

    def __init__(self, reply: R) -> None:
        self._reply = reply
        head = reply.head
        #: As the agent says it, with parameters.
        self.content_type = head.headers.get("content-type", "application/octet-stream")
        #: Bytes; none: not known before the end.
        self.size = int(length) if (length := head.headers.get("content-length")) else None
        #: The file's name, if it has one; never more than the last part of a path.
        self.name = _name(head)

    def close(self) -> None:
        """What was not read is not sent any more."""
        self._reply.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, content_type={self.content_type!r}, size={self.size!r})"


class Download(_File[blocking.Reply]):
    """Bytes that an agent has answered with. They are read once: by `read`, `save` or iteration."""

    def read(self) -> bytes:
        """All of them."""
        return b"".join(self)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes them to a file, which is replaced; how many there were."""
        written = 0
        with open(path, "wb") as file:
            for piece in self:
                written += file.write(piece)
        return written

    def __iter__(self) -> Iterator[bytes]:
        return self._reply.pieces()

    def __enter__(self: D) -> D:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncDownload(_File[looping.Reply]):
    """The same for async code."""

    async def read(self) -> bytes:
        """All of them."""
        return b"".join([piece async for piece in self])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reply.pieces()

    async def __aenter__(self: A) -> A:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _name(head: Head) -> str | None:
    disposition = head.headers.get("content-disposition")
    if disposition is None:
        return None
    # The standard library reads the parameters of mail, which are those of HTTP.
    message: Any = Message()
    message["content-disposition"] = disposition
    name = message.get_filename()
    if not name:
        return None
    # A name that leads elsewhere is of no use to anybody who is honest.
    return os.path.basename(unquote(name).replace("\\", "/")) or None
