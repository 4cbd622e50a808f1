"""FastAPI as its documentation shows it; served by gunicorn + uvicorn and by granian."""

from __future__ import annotations

from typing import Any

import waits
import work
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.post("/echo")
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Body in, the same out."""
    return body


@app.post("/cpu")
async def cpu(body: dict[str, int]) -> dict[str, bool]:
    """On the loop: threads that fight for the interpreter lock would be slower."""
    work.cpu(body["us"])
    return {"ok": True}


@app.post("/sleep")
def sleep(body: dict[str, int]) -> dict[str, bool]:
    """In FastAPI's pool of 40 threads."""
    work.sleep(body["us"])
    return {"ok": True}


@app.post("/asleep")
async def asleep(body: dict[str, int]) -> dict[str, bool]:
    """On the loop."""
    await waits.wait(body["us"])
    return {"ok": True}
