"""Where a request was sent, as the gateway tells it.

Enters: ASGI scopes with `X-Forwarded-Prefix`, `-Proto`, `-Host` and `-For`, which the gateway always writes
anew. Leaves: scopes whose `root_path`, `path`, `scheme` and `client` are those that the caller has seen, so
that generated addresses are right.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote

from pixell_runtime.surfaces.asgi import Application, Receive, Scope, Send

#: From this version on Starlette expects `path` to begin with `root_path`, as the ASGI specification says.
_WHOLE_PATH_SINCE = (0, 33)

_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


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
        said = {name: value for name, value in scope["headers"] if name.startswith(b"x-forwarded-")}
        prefix = said.get(b"x-forwarded-prefix", b"").rstrip(b"/")
        if prefix:
            root = unquote(prefix.decode("latin-1"))
            scope["root_path"] = root
            if self._whole_path:
                scope["path"] = root + scope["path"]
                if scope.get("raw_path") is not None:
                    scope["raw_path"] = prefix + scope["raw_path"]
        scheme = said.get(b"x-forwarded-proto", b"").decode("latin-1")
        if scheme in _WEBSOCKET_SCHEMES:
            scope["scheme"] = _WEBSOCKET_SCHEMES[scheme] if scope["type"] == "websocket" else scheme
        # The last one is the one that the gateway itself vouches for.
        client = said.get(b"x-forwarded-for", b"").rpartition(b",")[2].strip().decode("latin-1")
        if client:
            scope["client"] = (client, 0)
        host = said.get(b"x-forwarded-host")
        if host:
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host), *headers]


def _wants_whole_path() -> bool:
    starlette: Any = sys.modules.get("starlette")
    numbers = str(getattr(starlette, "__version__", "1.0")).split(".")[:2]
    if starlette is None or not all(number.isdigit() for number in numbers):
        return True
    return tuple(int(number) for number in numbers) >= _WHOLE_PATH_SINCE
