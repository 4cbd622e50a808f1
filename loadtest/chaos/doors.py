"""Doors before those on whom PAR depends: what passes as long as they are open, and breaks on command."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from .plan import Mode

HOST = "127.0.0.1"
PIECE = 65536
# A slow end lets the first byte wait, and then so many bytes pass at a time.
SLOW_FIRST_SECONDS = 0.8
SLOW_PIECE = 256
SLOW_PAUSE_SECONDS = 0.05
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\nConnection: close\r\n\r\nbroken"


class Door:
    """Listens on one port of loopback for as long as it lives and passes connections on to another."""

    def __init__(self, port: int, behind: int) -> None:
        self.port = port
        self.mode: Mode | None = None
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._inside: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    async def open(self) -> None:
        """Let everything pass again. What hangs is let go."""
        await self._turn(None)

    async def break_(self, mode: Mode) -> None:
        """From now on it is broken in this way; connections that are open are ended, unless it is only slow."""
        await self._turn(mode)

    async def close(self) -> None:
        """Listen no more."""
        await self._turn(Mode.REFUSED)

    async def _turn(self, mode: Mode | None) -> None:
        self.mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode is not Mode.SLOW:
            for writer in list(self._inside):
                _reset(writer)
        if mode is Mode.REFUSED:
            if self._server:
                self._server.close()
                self._server = None
        elif self._server is None:
            self._server = await asyncio.start_server(self._enter, HOST, self.port)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._inside.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._meet(reader, writer)
        finally:
            self._inside.discard(writer)
            writer.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self.mode:
            case Mode.RESET | Mode.REFUSED:
                _reset(writer)
            case Mode.HANG:
                await self._changed.wait()
                _reset(writer)
            case Mode.ERROR:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(UNAVAILABLE)
                await writer.drain()
            case Mode.SLOW | None:
                await self._pass(reader, writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to_behind = await asyncio.open_connection(HOST, self._behind)
        self._inside.add(to_behind)
        ways = [
            asyncio.create_task(self._pump(reader, to_behind)),
            asyncio.create_task(self._pump(behind, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._inside.discard(to_behind)
            to_behind.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_first = True
        while data := await reader.read(SLOW_PIECE if self.mode is Mode.SLOW else PIECE):
            if self.mode is Mode.SLOW:
                await asyncio.sleep(SLOW_FIRST_SECONDS if is_first else SLOW_PAUSE_SECONDS)
            is_first = False
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with a reset instead of an orderly end."""
    inner = writer.get_extra_info("socket")
    if inner is not None:
        with suppress(OSError):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
