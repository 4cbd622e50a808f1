"""The slow neighbour."""

from __future__ import annotations

import time


def slow() -> dict[str, bool]:
    """One second, blocking."""
    time.sleep(1)
    return {"ok": True}
