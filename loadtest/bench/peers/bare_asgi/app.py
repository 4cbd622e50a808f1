"""One bare ASGI function: no framework, no routing table, no validation. The hardest peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import waits
import work

Event = MutableMapping[str, Any]
# As many threads as FastAPI gives to blocking handlers.
THREADS = ThreadPoolExecutor(40)


async def app(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """Read the body, do the work that the path names, answer JSON."""
    event = await receive()
    body = event["body"]
    while event["more_body"]:
        event = await receive()
        body += event["body"]
    value = json.loads(body)
    path = scope["path"]
    if path == "/cpu":
        work.cpu(value["us"])
    elif path == "/sleep":
        await asyncio.get_running_loop().run_in_executor(THREADS, work.sleep, value["us"])
    elif path == "/asleep":
        await waits.wait(value["us"])
    payload = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(payload)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
