"""A table in, sums by group out."""

from __future__ import annotations

from typing import Any

import pandas


def frames(body: dict[str, list[Any]]) -> dict[str, float]:
    """What each group adds up to."""
    table = pandas.DataFrame({"group": body["group"], "value": body["value"]})
    return {str(group): float(value) for group, value in table.groupby("group")["value"].sum().items()}
