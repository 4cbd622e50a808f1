"""A call as the bytes of a request.

Enters: an agent, its input, and what goes with them. Leaves: a head, and a body that can be sent again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pixell_runtime.client.place import Place
from pixell_runtime.client.upload import Multipart, split

JSON = "application/json"
NDJSON = "application/x-ndjson"

#: Bytes of a body that the buffers of a connection take without its peer.
SMALL = 64 * 1024

#: Stands for "no input was given as a whole".
NOTHING: Any = object()


@dataclass(frozen=True)
class Told:
    """What goes with a call beside its input."""

    #: Seconds until its result must be there; none: as long as the runtime allows.
    timeout: float | None = None
    session: str | None = None
    traceparent: str | None = None
    request_id: str | None = None


class Request:
    """One request, ready to be sent as often as it may."""

    __slots__ = ("_body", "_lines", "_method", "_target", "told")

    def __init__(
        self,
        place: Place,
        method: str,
        path: str,
        body: bytes | Multipart,
        told: Told,
        accept: str = "",
    ) -> None:
        self._method = method
        self._target = f"{place.prefix}{path}"
        self._body = body
        self.told = told
        lines = [("Host", place.authority)]
        if isinstance(body, Multipart):
            lines.append(("Content-Type", body.content_type))
        elif body:
            lines.append(("Content-Type", JSON))
        if accept:
            lines.append(("Accept", accept))
        lines.extend(
            (name, value)
            for name, value in (
                ("X-PAR-Session", told.session),
                ("traceparent", told.traceparent),
                ("X-Request-ID", told.request_id),
            )
            if value is not None
        )
        self._lines = "".join(f"{name}: {plain(name, value)}\r\n" for name, value in lines)

    def written(self, token: str | None, remaining: float | None) -> tuple[bytes, Iterator[bytes], bool]:
        """The head, with the body unless there are files; what is left of the body; and whether all of it is so
        small that it leaves at once."""
        body = self._body
        rest: Iterator[bytes] = iter(())
        if isinstance(body, Multipart):
            length, rest = body.opened()
            body = b""
        else:
            length = len(body)
        lines = self._lines
        if token is not None:
            lines += f"Authorization: Bearer {token}\r\n"
        if remaining is not None:
            lines += f"X-PAR-Timeout-Ms: {max(1, int(remaining * 1000))}\r\n"
        head = f"{self._method} {self._target} HTTP/1.1\r\n{lines}Content-Length: {length}\r\n\r\n"
        return head.encode("latin-1") + body, rest, length <= SMALL


def invoke(
    place: Place, agent: str, whole: Any, arguments: dict[str, Any], told: Told, accept: str
) -> Request:
    """The call of an agent with an input as a whole, or with keywords, some of which may be files."""
    if not isinstance(agent, str) or not agent:
        raise ValueError(f"an agent is named by a text that is not empty, not by {agent!r}")
    rest, files = split(arguments)
    if whole is not NOTHING:
        if rest:
            raise TypeError("an input is given as a whole, or by keywords, not both")
        rest = whole
    path = f"/agents/{quote(agent, safe='')}/invoke"
    body: bytes | Multipart
    if files:
        body = Multipart(rest, files)
    else:
        body = json.dumps(rest, separators=(",", ":"), allow_nan=False).encode()
    return Request(place, "POST", path, body, told, accept)


def plain(name: str, value: str) -> str:
    """A value that may stand in a head: nothing that would begin another line."""
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} has characters that may not stand in a header")
    return value
