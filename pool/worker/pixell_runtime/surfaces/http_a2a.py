"""Handlers by action, over HTTP: an agent card, JSON-RPC, and JSON-RPC as events.

Enters: ASGI scopes. Leaves: the routes `GET /.well-known/agent.json`, `POST /` (JSON-RPC, always status 200),
`POST /stream` (server-sent events) and `GET /health`, the first three also below `/a2a`.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from typing import Any

from pixell_runtime.context import Identity
from pixell_runtime.frames import MAX_BODY
from pixell_runtime.results import encode
from pixell_runtime.surfaces.actions import Actions
from pixell_runtime.surfaces.asgi import Receive, Scope, Send
from pixell_runtime.surfaces.rpc import PARSE_ERROR, Failure, Request, Rpc, events_of, read

_CARDS = ("/.well-known/agent.json", "/.well-known/agent-card.json")
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]


class HttpA2a:
    """The application."""

    def __init__(self, actions: Actions) -> None:
        self._rpc = Rpc(actions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        path = _path_of(scope)
        below = path[len("/a2a") :] if path == "/a2a" or path.startswith("/a2a/") else path
        reading = scope["method"] in ("GET", "HEAD")
        if below in _CARDS:
            if reading:
                await _json(send, self._card(scope))
            else:
                await _not_allowed(send, b"GET, HEAD")
        elif path == "/health":
            if reading:
                await _json(send, {"ok": True, "status": "healthy"})
            else:
                await _not_allowed(send, b"GET, HEAD")
        elif below in ("", "/", "/stream"):
            if scope["method"] == "POST":
                await self._post(scope, receive, send, below == "/stream")
            else:
                await _not_allowed(send, b"POST")
        else:
            await _json(send, {"detail": "Not Found"}, status=404)

    async def _post(self, scope: Scope, receive: Receive, send: Send, stream: bool) -> None:
        body = await _body(receive)
        if body is None:
            await _json(send, {"detail": f"the body has more than {MAX_BODY} bytes"}, status=413)
            return
        try:
            request = read(body)
        except Failure as failure:
            await _json(send, failure.answer(None))
            return
        # Clients of the newer protocol ask for a stream by method instead of by path.
        if stream or (request.streams and b"text/event-stream" in _header(scope, b"accept")):
            await _until_gone(receive, self._stream(request, send))
        else:
            await _json(send, await self._rpc.answer(request))

    async def _stream(self, request: Request, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        events: AsyncIterator[dict[str, Any]] = events_of(self._rpc, request)
        async for event in events:
            await send(
                {"type": "http.response.body", "body": b"data: " + _text(event) + b"\n\n", "more_body": True}
            )
        await send({"type": "http.response.body", "body": b""})

    def _card(self, scope: Scope) -> dict[str, Any]:
        name, _, version = Identity.package.partition("@")
        host = _header(scope, b"host").decode("latin-1")
        modes = {"inputModes": ["text"], "outputModes": ["text"]}
        return {
            "name": name,
            "description": f"{name} {version}",
            "version": version,
            "url": f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}/",
            "capabilities": {"streaming": True, "pushNotifications": False},
            "defaultInputModes": ["text"],
            "defaultOutputModes": ["text"],
            "skills": [
                {"id": skill, "name": skill, "description": description, "tags": [], **modes}
                for skill, description in self._rpc.skills().items()
            ],
        }


async def _until_gone(receive: Receive, work: Any) -> None:
    """Ends the work when the client leaves."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is over the limit."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _json(send: Send, value: Any, *, status: int = 200) -> None:
    body = _text(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _not_allowed(send: Send, allowed: bytes) -> None:
    headers = [(b"allow", allowed), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 405, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _text(value: Any) -> bytes:
    try:
        return "".join(encode(value, 0)).encode()
    except Exception:
        traceback.print_exc()
        return json.dumps(Failure(PARSE_ERROR, "the answer cannot be JSON").answer(None)).encode()


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _path_of(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path
