"""The items of a streamed answer.

Enters: the type of its content, then its bytes. Leaves: items: of lines of JSON each, of JSON the one, of anything
else the bytes as they come. A line `{"$error": {…}}` is how a stream fails, and is raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pixell_runtime.client.errors import ConnectionLost, of_problem
from pixell_runtime.client.request import JSON, NDJSON

#: The only member of a last line that is no item.
FAILURE = "$error"

#: Longest line: an item is as long as a result may be.
MOST_LINE = 256 << 20


class Items:
    """Reads one answer."""

    __slots__ = ("_buffer", "_content_type", "_looked")

    def __init__(self, content_type: str) -> None:
        self._content_type = content_type
        self._buffer = bytearray()
        #: Up to here there is no end of a line.
        self._looked = 0

    def feed(self, data: bytes) -> Iterator[Any]:
        """Items that are whole now."""
        if self._content_type == NDJSON:
            self._buffer += data
            while True:
                end = self._buffer.find(b"\n", self._looked)
                if end < 0:
                    self._looked = len(self._buffer)
                    if self._looked > MOST_LINE:
                        raise ConnectionLost(f"an item of more than {MOST_LINE} bytes")
                    return
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._looked = 0
                if line.strip():
                    yield _item(line)
        elif self._content_type == JSON:
            self._buffer += data
        elif data:
            yield data

    def end(self) -> Iterator[Any]:
        """What the end of the answer makes whole."""
        if self._buffer.strip():
            yield _item(bytes(self._buffer))
        self._buffer.clear()


def _item(line: bytes) -> Any:
    try:
        item = json.loads(line)
    except ValueError:
        raise ConnectionLost(f"a line that is no JSON: {line[:80]!r}") from None
    failure = _failure(item)
    if failure is not None:
        raise of_problem(failure)
    return item


def _failure(item: Any) -> dict[str, Any] | None:
    """The problem, if this is how a stream fails: an item of an agent's own could look like it, but has no code."""
    if isinstance(item, dict) and len(item) == 1:
        problem = item.get(FAILURE)
        if isinstance(problem, dict) and isinstance(problem.get("code"), str):
            return problem
    return None
