"""A table that grows from call to call of a session."""

from __future__ import annotations

import os
from typing import Any

import pandas


def add(input: dict[str, Any], context: Any) -> dict[str, float]:
    """One more row, and the sum of what is there."""
    state = context.session.state
    row = pandas.DataFrame({"value": [float(input["value"])]})
    state["table"] = row if "table" not in state else pandas.concat([state["table"], row])
    return {"pid": os.getpid(), "rows": len(state["table"]), "sum": float(state["table"]["value"].sum())}
