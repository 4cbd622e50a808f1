"""Answers of HTTP/1.1, as their bytes arrive: no socket here, so that both halves of the client share it.

Enters: bytes. Leaves: a head, then the bytes of a body. What is not HTTP is `Garbled`.
"""

from __future__ import annotations

#: Longest head: four times what a `par` sends. A peer that is none shall not fill the memory.
MOST_HEAD = 64 * 1024

#: Longest line between pieces.
MOST_LINE = 1024


class Garbled(Exception):
    """What came is not an answer."""


class Head:
    """Status and headers. Names are in small letters; of headers that come twice the values are joined."""

    __slots__ = ("headers", "status", "version")

    def __init__(self, raw: bytes) -> None:
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise Garbled(f"no status line: {first[:80]!r}")
        self.version = words[0]
        self.status = int(words[1])
        self.headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise Garbled(f"no header: {line[:80]!r}")
            name, value = name.lower(), value.strip()
            known = self.headers.get(name)
            self.headers[name] = value if known is None else f"{known}, {value}"

    @property
    def keeps(self) -> bool:
        """Whether the connection may be used again."""
        connection = self.headers.get("connection", "").lower()
        return self.version != "HTTP/1.0" and "close" not in connection

    @property
    def content_type(self) -> str:
        """Without parameters, in small letters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Answer:
    """One answer. `feed` takes what has arrived and returns what of it belongs to the body."""

    __slots__ = ("_buffer", "_chunks", "_left", "done", "head")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._chunks: _Chunks | None = None
        #: Bytes of the body that are missing; none: it ends with the connection.
        self._left: int | None = None
        self.head: Head | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Nothing of the body is kept. Empty data is the end of the connection."""
        if not data:
            return self._ended()
        if self.head is None:
            self._buffer += data
            if not self._read_head():
                return b""
            data = bytes(self._buffer)
            self._buffer.clear()
        return self._body(data)

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MOST_HEAD:
                    raise Garbled("a head without an end")
                return False
            head = Head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            # 100 and its like announce another head.
            if head.status >= 200:
                break
        length, encoding = head.headers.get("content-length"), head.headers.get("transfer-encoding")
        if head.status in (204, 304):
            self.done = True
        elif encoding is not None:
            if encoding.lower() != "chunked":
                raise Garbled(f"an encoding that nobody asked for: {encoding[:80]!r}")
            self._chunks = _Chunks()
        elif length is not None:
            if not length.isdigit():
                raise Garbled(f"no length: {length[:80]!r}")
            self._left = int(length)
            self.done = self._left == 0
        self.head = head
        return True

    def _body(self, data: bytes) -> bytes:
        if self._chunks is not None:
            data = self._chunks.feed(data)
            self.done = self._chunks.done
        elif self._left is not None or self.done:
            left = self._left or 0
            if len(data) > left:
                raise Garbled("more than was announced")
            self._left = left - len(data)
            self.done = self._left == 0
        return data

    def _ended(self) -> bytes:
        if not self.done and (self.head is None or self._chunks is not None or self._left is not None):
            raise Garbled("the answer ends before its end")
        self.done = True
        return b""


class _Chunks:
    """The pieces of a body without a length (RFC 9112 §7.1)."""

    __slots__ = ("_buffer", "_closing", "_left", "_trailing", "done")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._closing = self._trailing = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        out = []
        while not self.done:
            if self._left:
                piece = bytes(self._buffer[: self._left])
                if not piece:
                    break
                del self._buffer[: len(piece)]
                out.append(piece)
                self._left -= len(piece)
                self._closing = self._left == 0
                continue
            line = self._line()
            if line is None:
                break
            if self._closing:
                if line:
                    raise Garbled("a piece that is longer than it says")
                self._closing = False
            elif self._trailing:
                self.done = not line
            else:
                self._left = _size(line)
                self._trailing = self._left == 0
        if self.done and self._buffer:
            raise Garbled("more than was announced")
        return b"".join(out)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MOST_LINE:
                raise Garbled("a line without an end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits if digits.isalnum() else b"", 16)
    except ValueError:
        raise Garbled(f"no size of a piece: {line[:80]!r}") from None
