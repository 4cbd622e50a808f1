"""The load: an open loop of requests over kept connections, and one caller for each session."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .calls import Call, Seen, Session, draw, judge
from .doors import HOST
from .outcomes import CUT, CUT_BODY, REFUSED, SILENT, Ask

# Longer than any deadline of PAR and what it adds: who gets nothing by then gets nothing.
PATIENCE_SECONDS = 12.0
# More are not sent meanwhile: a server that stands still must not cost the client all its ports.
MOST_OUT = 400
SESSIONS = 12
SESSION_PAUSE = 0.15
# After so many calls a session goes on under another name.
SESSION_CALLS = 60


@dataclass(frozen=True)
class Tokens:
    """What callers show: one of each tenant, one without the role, one that is forged."""

    by_tenant: Mapping[str, str]
    forbidden: str
    forged: str

    def of(self, call: Call) -> str:
        """The one for this request."""
        if call.ask is Ask.FORGED:
            return self.forged
        return self.forbidden if call.ask is Ask.FORBIDDEN else self.by_tenant[call.tenant]


class _Connection:
    """One connection with at most one request on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.is_new = True

    @property
    def is_open(self) -> bool:
        """As far as one can know."""
        return not self.reader.at_eof() and not self.writer.is_closing()

    def close(self) -> None:
        """Without waiting for the other end."""
        self.writer.transport.abort()


@dataclass
class Load:
    """Sends, and keeps what it has seen."""

    port: int
    tokens: Tokens
    seed: int
    rate: float
    clock: Callable[[], float]
    seen: list[Seen] = field(default_factory=list)
    # What sessions have counted wrongly.
    miscounted: list[str] = field(default_factory=list)
    # Due, and not sent because too many were out.
    held: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lives: list[Iterator[int]] = field(default_factory=lambda: [itertools.count() for _ in range(SESSIONS)])
    _idle: list[_Connection] = field(default_factory=list)
    _sending: set[asyncio.Task[Seen]] = field(default_factory=set)
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is cancelled; what is out then is waited for. Run again, it goes on with other nonces."""
        self._quiet.clear()
        sessions = [asyncio.create_task(self._session(number)) for number in range(SESSIONS)]
        try:
            await self._open_loop()
        finally:
            self._quiet.set()
            await asyncio.gather(*sessions)
            await asyncio.gather(*self._sending)
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    async def _open_loop(self) -> None:
        dice = random.Random(self.seed)
        tenants = sorted(self.tokens.by_tenant)
        due = time.monotonic()
        for number in self._numbers:
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            call = draw(dice, f"c{self.seed}-{number}", tenants)
            if len(self._sending) >= MOST_OUT:
                self.held += 1
                continue
            task = asyncio.create_task(self.send(call))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _session(self, place: int) -> None:
        """Calls of one session, one after the other: so it is known what it must have counted."""
        dice = random.Random(self.seed * 1000 + place)
        tenant = sorted(self.tokens.by_tenant)[place % len(self.tokens.by_tenant)]
        for life in self._lives[place]:
            session = Session(f"s{self.seed}-{place}-{life}", tenant)
            for number in range(SESSION_CALLS):
                if self._quiet.is_set():
                    return
                numbers = (dice.randrange(1000), number)
                seen = await self.send(
                    Call(f"{session.name}-{number}", Ask.COUNT, tenant, numbers, session.name)
                )
                if wrong := session.learn(seen):
                    self.miscounted.append(f"{seen.sent:.2f} s: {wrong}")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._quiet.wait(), SESSION_PAUSE)

    async def send(self, call: Call) -> Seen:
        """One request, to whatever end."""
        sent = self.clock()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                code, status, body = await self._exchange(call)
        except TimeoutError:
            code, status, body = SILENT, 0, b""
        received = self.clock()
        seen = Seen(call, sent, received, 0, code) if code else judge(call, sent, received, status, body)
        self.seen.append(seen)
        return seen

    async def _exchange(self, call: Call) -> tuple[str, int, bytes]:
        """The code of what was no answer, or the status and the body of one."""
        try:
            connection = await self._connection()
        except OSError:
            return REFUSED, 0, b""
        kept = False
        status = 0
        try:
            kind, content = call.body()
            connection.writer.write(_head(call, kind, len(content), self.tokens.of(call)) + content)
            head = await connection.reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            body = await _body(connection.reader, head.lower())
            kept = b"\r\nconnection: close" not in head.lower()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return (CUT_BODY if status else CUT), 0, b""
        finally:
            if kept:
                self._idle.append(connection)
            else:
                connection.close()
        return "", status, body

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return _Connection(*await asyncio.open_connection(HOST, self.port))


def _head(call: Call, kind: str, size: int, token: str) -> bytes:
    lines = [
        f"POST {call.path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {token}",
        f"X-Request-ID: {call.nonce}",
        f"Content-Type: {kind}",
        f"Content-Length: {size}",
    ]
    if call.ask is Ask.ITEMS:
        lines.append("Accept: application/x-ndjson")
    if call.session:
        lines.append(f"X-PAR-Session: {call.session}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"\r\ntransfer-encoding: chunked" not in head:
        _, _, rest = head.partition(b"\r\ncontent-length:")
        return await reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


async def hold(port: int, count: int, seconds: float) -> int:
    """Open so many connections and leave them open for so long; how many were taken."""
    opened: Sequence[object] = await asyncio.gather(
        *(asyncio.open_connection(HOST, port) for _ in range(count)), return_exceptions=True
    )
    await asyncio.sleep(seconds)
    taken = [each for each in opened if isinstance(each, tuple)]
    alive = sum(not reader.at_eof() for reader, _ in taken)
    for _, writer in taken:
        writer.transport.abort()
    return alive
