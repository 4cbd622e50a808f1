"""A handler of a service time that the caller names; the same code as in `peers/work.py`."""

from __future__ import annotations

import asyncio
from typing import Any


async def asleep(body: dict[str, Any]) -> dict[str, bool]:
    """Wait as an asynchronous client would."""
    await asyncio.sleep(body["us"] / 1_000_000)
    return {"ok": True}
