"""The client for event loops, against a server that follows a script."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Callable

import pytest
from scripted import Line, answering, scripted
from test_client import NDJSON, problem

import pixell_runtime
from pixell_runtime import client as par
from pixell_runtime.client import clock

CHUNKED = f"HTTP/1.1 200 OK\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def run(story: Callable[[Any], Awaitable[None]], place: object, **options: Any) -> None:
    """Tells a story with a client, and closes it."""

    async def told() -> None:
        async with pixell_runtime.connect(place, **options) as client:  # type: ignore[arg-type]
            await story(client)

    asyncio.run(told())


def test_calls_share_one_connection_and_many_tasks_take_turns(tmp_path: Path) -> None:
    def echo(line: Line) -> None:
        while (request := line.request())[0]:
            line.answer(200, request[2])

    async def story(client: par.Client) -> None:
        assert await client.acall("a", n=1) == {"n": 1}
        answers = await asyncio.gather(*(client.acall("a", n=n) for n in range(40)))
        assert answers == [{"n": n} for n in range(40)]

    with scripted(tmp_path, echo, echo) as server:
        run(story, server.path, connections=2, timeout=30)
    assert len(server.heads) == 41 and server.connections == 2
    assert 29_000 < int(server.heads[0][1]["x-par-timeout-ms"]) <= 30_000


def test_a_client_serves_one_event_loop_after_the_other(tmp_path: Path) -> None:
    with scripted(tmp_path, answering((200, b"1")), answering((200, b"2"))) as server:
        client = pixell_runtime.connect(server.path)
        for wanted in (1, 2):

            async def story() -> object:
                async with client:
                    return await client.acall("a")

            assert asyncio.run(story()) == wanted


def test_a_task_that_is_cancelled_ends_its_call(tmp_path: Path) -> None:
    asked, left = threading.Event(), threading.Event()

    def silent(line: Line) -> None:
        line.request()
        asked.set()
        assert line.left()
        left.set()

    async def story(client: par.Client) -> None:
        task = asyncio.ensure_future(client.acall("a"))
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(left.wait, 5)
        assert await client.acall("b") == 2, "its place is free again"

    with scripted(tmp_path, silent, answering((200, b"2"))) as server:
        run(story, server.path, connections=1)


def test_a_task_that_waits_for_a_place_has_its_deadline_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "GRACE", 0.1)

    def silent(line: Line) -> None:
        line.request()
        assert line.left()

    async def story(client: par.Client) -> None:
        begun = time.monotonic()
        both = await asyncio.gather(client.acall("a"), client.acall("b"), return_exceptions=True)
        assert [type(one) for one in both] == [par.DeadlineExceeded] * 2
        assert time.monotonic() - begun < 5

    with scripted(tmp_path, silent) as server:
        run(story, server.path, connections=1, timeout=0.2)
    assert len(server.heads) == 1


def test_retries_and_refusals_are_those_of_threads(tmp_path: Path) -> None:
    def busy(line: Line) -> None:
        line.request()
        line.answer(503, problem("queue_full", 503), "Retry-After: 0")
        line.request()
        line.answer(200, b"1")
        line.request()

    async def story(client: par.Client) -> None:
        assert await client.acall("a") == 1
        with pytest.raises(par.ConnectionLost):
            await client.acall("a")
        assert await client.acall("a", text="x" * (8 << 20)) == 2
        with pytest.raises(par.BadRequest, match="too_large"):
            await client.acall("a", text="x" * (8 << 20))

    def refuses(line: Line) -> None:
        line.connection.recv(1000)

    def answers(line: Line) -> None:
        line.request()
        line.answer(200, b"2")
        line.connection.recv(1000)
        line.answer(413, problem("too_large", 413), "Connection: close")

    with scripted(tmp_path, busy, refuses, answers) as server:
        run(story, server.path)
    assert len(server.heads) == 4


def test_items_come_as_they_are_made(tmp_path: Path) -> None:
    go = threading.Event()

    def act(line: Line) -> None:
        line.request()
        line.say(CHUNKED + b"2\r\n1\n\r\n")
        assert go.wait(10)
        line.say(b'3\r\n"2"\r\n1\r\n\n\r\n0\r\n\r\n')
        line.request()
        line.answer(200, b"3")

    async def story(client: par.Client) -> None:
        stream = await client.astream("a")
        assert await stream.__anext__() == 1
        go.set()
        assert [item async for item in stream] == ["2"]
        assert await client.acall("a") == 3

    with scripted(tmp_path, act) as server:
        run(story, server.path)
    assert server.connections == 1


@pytest.mark.parametrize("how", ["close", "with", "cancel"])
def test_a_stream_that_is_not_read_to_its_end_ends_the_call(tmp_path: Path, how: str) -> None:
    left = threading.Event()

    def endless(line: Line) -> None:
        line.request()
        line.say(CHUNKED + b"2\r\n1\n\r\n")
        assert line.left()
        left.set()

    async def story(client: par.Client) -> None:
        stream = await client.astream("a")
        assert await stream.__anext__() == 1
        if how == "close":
            await stream.aclose()
        elif how == "with":
            async with stream:
                pass
        else:
            waiting = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await asyncio.to_thread(left.wait, 5)

    with scripted(tmp_path, endless) as server:
        run(story, server.path)


def test_files_go_out_and_come_in(tmp_path: Path) -> None:
    def act(line: Line) -> None:
        line.request()
        line.answer(200, b"\x00" * 100_000, content_type="application/octet-stream")
        line.request()
        line.answer(200, b"1")

    async def story(client: par.Client) -> None:
        async with await client.acall("a", file=par.Upload(b"y" * 600_000, "y.bin")) as download:
            assert len(await download.read()) == 100_000
        assert await client.acall("a") == 1

    with scripted(tmp_path, act) as server:
        run(story, server.path)
    assert server.heads[0][2].count(b"y") >= 600_000 and server.connections == 1


def test_tokens_come_from_async_functions_too(tmp_path: Path) -> None:
    async def token() -> str:
        return "made"

    async def story(client: par.Client) -> None:
        assert await client.acall("a") == 1
        with pytest.raises(TypeError):
            client.call("a")

    with scripted(tmp_path, answering((200, b"1"))) as server:
        run(story, server.path, token=token)
    assert server.heads[0][1]["authorization"] == "Bearer made"
