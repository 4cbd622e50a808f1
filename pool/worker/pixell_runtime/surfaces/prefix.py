"""Where a request was sent, as the gateway tells it.

Enters: ASGI scopes with `X-Forwarded-Prefix`, `-Proto`, `-Host` and `-For`, which the gateway always writes
anew. Leaves: scopes whose `root_path`, `path`, `scheme` and `client` are those that the caller has seen, so
that generated addresses are right.
"""

from __future__ import annotations

import functools
import sys
from typing import Any
from urllib.parse import unquote

from pixell_runtime.surfaces.asgi import Application, Receive, Scope, Send

#: From this version on Starlette expects `path` to begin with `root_path`, as the ASGI specification says.
_WHOLE_PATH_SINCE = (0, 33)

#: What the gateway tells, and what it may correct.
_TOLD = frozenset(
    (b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto")
)

_SCHEMES = {
    "http": {b"http": "http", b"https": "https"},
    "websocket": {b"http": "ws", b"https": "wss"},
}


class Prefixed:
    """An application that believes the gateway."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._whole_path = _wants_whole_path()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._correct(scope)
        await self._application(scope, receive, send)

    def _correct(self, scope: Scope) -> None:
        # A few microseconds of every request: what most of them have in common is not computed again.
        said = {name: value for name, value in scope["headers"] if name in _TOLD}
        prefix = said.get(b"x-forwarded-prefix")
        if prefix:
            raw, root = _root(prefix)
            scope["root_path"] = root
            if self._whole_path:
                scope["path"] = root + scope["path"]
                if scope.get("raw_path") is not None:
                    scope["raw_path"] = raw + scope["raw_path"]
        scheme = _SCHEMES[scope["type"]].get(said.get(b"x-forwarded-proto", b""))
        if scheme is not None:
            scope["scheme"] = scheme
        client = said.get(b"x-forwarded-for")
        if client:
            # The last one is the one that the gateway itself vouches for.
            scope["client"] = (client.rpartition(b",")[2].strip().decode("latin-1"), 0)
        host = said.get(b"x-forwarded-host")
        if host and host != said.get(b"host"):
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host), *headers]


@functools.lru_cache(maxsize=64)
def _root(prefix: bytes) -> tuple[bytes, str]:
    """A prefix as it was written, and as it is meant. One package has few."""
    raw = prefix.rstrip(b"/")
    return raw, unquote(raw.decode("latin-1"))


def _wants_whole_path() -> bool:
    starlette: Any = sys.modules.get("starlette")
    numbers = str(getattr(starlette, "__version__", "1.0")).split(".")[:2]
    if starlette is None or not all(number.isdigit() for number in numbers):
        return True
    return tuple(int(number) for number in numbers) >= _WHOLE_PATH_SINCE
