"""A handler of a service time that the caller names; it waits by the same code as the peers."""

from __future__ import annotations

from typing import Any

import waits


async def asleep(body: dict[str, Any]) -> dict[str, bool]:
    """Wait as an asynchronous client would."""
    await waits.wait(body["us"])
    return {"ok": True}
