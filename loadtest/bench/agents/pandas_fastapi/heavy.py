"""An agent with pandas, numpy and fastapi imported before the fork."""

from __future__ import annotations

import os
import time

import fastapi
import numpy
import pandas

VERSIONS = {module.__name__: module.__version__ for module in (fastapi, numpy, pandas)}


def who() -> dict[str, int]:
    """Which process answers."""
    return {"pid": os.getpid()}


def hold(body: dict[str, float]) -> dict[str, int]:
    """Keep one worker busy without using the CPU."""
    time.sleep(body["seconds"])
    return {"pid": os.getpid()}


def crash() -> None:
    """End the process as a fault in native code would."""
    os._exit(139)
