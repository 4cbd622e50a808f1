"""Handlers of a service time that the caller names; the same code as in `peers/work.py`."""

from __future__ import annotations

import time
from typing import Any

DONE = {"ok": True}


def cpu(body: dict[str, Any]) -> dict[str, bool]:
    """Burn so much CPU. Counted in CPU time: a wall clock would sell time spent descheduled as work."""
    end = time.thread_time_ns() + body["us"] * 1000
    while time.thread_time_ns() < end:
        pass
    return DONE


def sleep(body: dict[str, Any]) -> dict[str, bool]:
    """Wait as a blocking client of some service would."""
    time.sleep(body["us"] / 1_000_000)
    return DONE


def mixed(body: dict[str, Any]) -> dict[str, bool]:
    """One handler whose calls are mostly short and sometimes very long."""
    return sleep(body) if body.get("wait") else cpu(body)
