"""One small route."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    """What everybody asks first."""
    return {"message": "hello"}
