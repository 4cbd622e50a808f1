"""FastAPI with a handler of pandas."""

from __future__ import annotations

from typing import Any

import frames
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.post("/echo")
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Body in, the same out: whether it answers."""
    return body


@app.post("/frames")
async def table(body: dict[str, list[Any]]) -> dict[str, float]:
    """On the loop: it computes, and threads that fight for the interpreter lock would be slower."""
    return frames.sums(body)
