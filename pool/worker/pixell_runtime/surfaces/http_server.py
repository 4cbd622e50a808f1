"""uvicorn as a library: HTTP on connections that the gateway passes, without a socket that listens.

Enters: an application, and connected sockets. Leaves: what the application answers. Works with every uvicorn
from 0.20 on, so what one of them lacks is left out when it is asked for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import socket
import time
from email.utils import formatdate
from typing import Any, Callable

from pixell_runtime.surfaces.asgi import Application

#: The gateway closes connections that it no longer needs; a shorter time here would race with its next
#: request.
_KEEP_ALIVE_SECONDS = 24 * 3600

#: How often an ending server looks whether its connections have ended.
_LOOK_SECONDS = 0.02


class HttpServer:
    """One per primary with a REST surface."""

    def __init__(self, application: Application, state: dict[str, Any]) -> None:
        """`state` is what the application's lifespan shares with its requests."""
        self._config = _config(application)
        self._state = _server_state()
        self._make = _protocol_maker(self._config, self._state, state)

    async def serve(self, connection: socket.socket) -> None:
        """Takes over a connected socket."""
        connection.setblocking(False)
        # Loops of both kinds have it; the abstract class does not.
        loop: Any = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._make, connection)

    async def stop(self, grace: float) -> None:
        """Lets requests end for that many seconds."""
        for connection in list(self._state.connections):
            connection.shutdown()
        end = time.monotonic() + grace
        while (self._state.connections or self._state.tasks) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)


def available() -> bool:
    """Whether there is a uvicorn."""
    return importlib.util.find_spec("uvicorn") is not None


def _config(application: Application) -> Any:
    try:
        from uvicorn.config import Config
    except ImportError as error:
        raise ImportError(f"a REST surface needs uvicorn, which cannot be imported: {error}") from error
    config = Config(
        application,
        interface="asgi3",
        # Ours: it tells what an application has raised.
        lifespan="off",
        # How a package logs is its own affair.
        log_config=None,
        access_log=False,
        # The gateway's word is taken by `Prefixed`.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    return config


class _Dated:
    """Makes the date when a response needs it: uvicorn's own server wakes up ten times a second for that."""

    _second = 0
    _headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = ((b"date", formatdate(second, usegmt=True).encode()),)
        return list(self._headers)

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """What uvicorn begins with: nothing."""


def _server_state() -> Any:
    from uvicorn.server import ServerState

    return type("State", (_Dated, ServerState), {})()


def _protocol_maker(config: Any, server_state: Any, state: dict[str, Any]) -> Callable[[], asyncio.Protocol]:
    kind = config.http_protocol_class
    known = inspect.signature(kind.__init__).parameters
    arguments = {"config": config, "server_state": server_state, "app_state": state}
    given = {name: value for name, value in arguments.items() if name in known}

    def make() -> asyncio.Protocol:
        protocol: asyncio.Protocol = kind(**given)
        return protocol

    return make
