"""`connect()`, and what it returns.

Enters: a place, a token, a time-out. Leaves: a `Client`, for any number of threads and event loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import ssl
import uuid
import weakref
from collections.abc import Awaitable
from dataclasses import replace
from types import TracebackType
from typing import Any, Callable, TypeVar, Union
from urllib.parse import quote

from pixell_runtime.client import blocking, looping
from pixell_runtime.client.clock import Clock
from pixell_runtime.client.download import AsyncDownload, Download
from pixell_runtime.client.errors import CallError, ConnectionLost
from pixell_runtime.client.place import Place, place
from pixell_runtime.client.request import JSON, NDJSON, NOTHING, Request, Told, invoke, plain
from pixell_runtime.client.stream import AsyncStream, Stream

Token = Union[str, Callable[[], str], Callable[[], Awaitable[str]], None]
C = TypeVar("C", bound="Client")

#: Connections at once. Threads and tasks beyond wait for each other; a `par` takes 500 calls at once.
CONNECTIONS = 100

KEEP: Any = object()


def connect(
    path_or_url: str | os.PathLike[str] | None = None,
    *,
    token: Token = None,
    timeout: float | None = None,
    connections: int = CONNECTIONS,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """A client of the runtime at `path_or_url`. Nothing is sent before the first call.

    `path_or_url`: a path or `unix:/path` of the local socket, `https://…`, or `http://…` on this machine; none: the
    local socket of this user's `par` (`PAR_SOCKET`, `PAR_DATA_DIR`). `token`: sent as bearer token; a function is
    asked before every call, and an async one where the call is async. `timeout`: seconds for a call; none: as long as
    the runtime allows. `tls`: how certificates are checked, if not by those of the system.
    """
    where = place(path_or_url)
    if connections < 1:
        raise ValueError("at least one connection is needed")
    if tls is not None and not where.tls:
        raise ValueError(f"{where} is reached without TLS")
    if where.tls and tls is None:
        tls = ssl.create_default_context()
    Clock(timeout)
    return Client(_Lines(where, tls, connections, token), Told(timeout=timeout))


class _Lines:
    """What all clients of one `connect` share."""

    def __init__(self, where: Place, tls: ssl.SSLContext | None, most: int, token: Token) -> None:
        self.place = where
        self._tls = tls
        self._most = most
        self._token = token
        self.blocking = blocking.Connections(where, tls, most)
        self._looping: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, looping.Connections] = (
            weakref.WeakKeyDictionary()
        )

    def looping(self) -> looping.Connections:
        loop = asyncio.get_running_loop()
        known = self._looping.get(loop)
        if known is None:
            # What is kept for a loop keeps the loop, too.
            for over in [other for other in self._looping if other.is_closed()]:
                del self._looping[over]
            known = self._looping[loop] = looping.Connections(self.place, self._tls, self._most)
        return known

    def token(self) -> str | None:
        given = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(given):
            if inspect.iscoroutine(given):
                given.close()
            raise TypeError("an async function gives tokens to async calls only")
        return None if given is None else plain("a token", given)

    async def atoken(self) -> str | None:
        given = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(given):
            given = await given
        return None if given is None else plain("a token", given)

    def close(self) -> None:
        self.blocking.close()
        for connections in list(self._looping.values()):
            connections.close()


class Client:
    """Calls agents. Made by `connect`; what `options` and `session` return shares its connections."""

    def __init__(self, lines: _Lines, told: Told) -> None:
        self._lines = lines
        self._told = told

    def options(
        self,
        *,
        timeout: float | None = KEEP,
        traceparent: str | None = KEEP,
        request_id: str | None = KEEP,
    ) -> Client:
        """The same client with other words beside the input of its calls."""
        given: dict[str, Any] = {"timeout": timeout, "traceparent": traceparent, "request_id": request_id}
        told = replace(self._told, **{name: value for name, value in given.items() if value is not KEEP})
        Clock(told.timeout)
        return Client(self._lines, told)

    def session(self, id: str | None = None) -> Session:
        """A session: its calls meet the state that earlier ones have left. Without an id, a new one."""
        return Session(self._lines, self._told, id)

    def call(self, agent_id: str, input: Any = NOTHING, /, **arguments: Any) -> Any:
        """Calls an agent and waits for its result: JSON as Python has it, or a `Download` of what is none.

        Its input is what stands in `input`, or an object of the keywords. An `Upload` among these is sent as a file.
        """
        reply = self._exchange(invoke(self._lines.place, agent_id, input, arguments, self._told, ""))
        if reply.head.content_type != JSON:
            return Download(reply)
        return _read(reply.read(), reply.head.headers.get("x-request-id", ""))

    def stream(self, agent_id: str, input: Any = NOTHING, /, **arguments: Any) -> Stream:
        """Calls an agent and returns its items as they come. `timeout` is for the first of them."""
        return Stream(
            self._exchange(invoke(self._lines.place, agent_id, input, arguments, self._told, NDJSON))
        )

    async def acall(self, agent_id: str, input: Any = NOTHING, /, **arguments: Any) -> Any:
        """As `call`, from async code. What is no JSON is an `AsyncDownload`. Cancelling it ends the call."""
        request = invoke(self._lines.place, agent_id, input, arguments, self._told, "")
        reply = await self._aexchange(request)
        if reply.head.content_type != JSON:
            return AsyncDownload(reply)
        return _read(await reply.read(), reply.head.headers.get("x-request-id", ""))

    async def astream(self, agent_id: str, input: Any = NOTHING, /, **arguments: Any) -> AsyncStream:
        """As `stream`, from async code: `async for item in await client.astream(…)`."""
        request = invoke(self._lines.place, agent_id, input, arguments, self._told, NDJSON)
        return AsyncStream(await self._aexchange(request))

    def close(self) -> None:
        """Closes the connections that are kept. The client can still be used."""
        self._lines.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._lines.place)!r})"

    def _exchange(self, request: Request) -> blocking.Reply:
        return blocking.exchange(
            self._lines.blocking, request, self._lines.token, Clock(request.told.timeout)
        )

    async def _aexchange(self, request: Request) -> looping.Reply:
        lines = self._lines
        return await looping.exchange(lines.looping(), request, lines.atoken, Clock(request.told.timeout))


class Session(Client):
    """Calls that share a state in the agent. As a context manager it ends a session that it has named itself: over
    the local socket at once; elsewhere only operators may, and it ends by itself when it is idle."""

    def __init__(self, lines: _Lines, told: Told, id: str | None) -> None:
        #: What names it, for this caller.
        self.id = uuid.uuid4().hex if id is None else id
        self._is_ours = id is None and lines.place.is_local
        super().__init__(lines, replace(told, session=self.id))

    def end(self) -> None:
        """Ends it now, which operators may."""
        self._exchange(self._ending()).read()

    async def aend(self) -> None:
        """The same from async code."""
        await (await self._aexchange(self._ending())).read()

    def close(self) -> None:
        """Leaves the connections to the client that the session was made by."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours:
            # It may have ended by itself, or never begun. What matters has been said by its calls.
            with contextlib.suppress(CallError):
                self.end()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours:
            with contextlib.suppress(CallError):
                await self.aend()

    def _ending(self) -> Request:
        path = f"/runtime/sessions/{quote(self.id, safe='')}"
        return Request(self._lines.place, "DELETE", path, b"", replace(self._told, session=None))


def _read(body: bytes, request_id: str) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ConnectionLost("the result is no JSON", request_id=request_id) from error
