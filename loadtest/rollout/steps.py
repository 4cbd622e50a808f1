"""Receipts in a table: where the time of rollouts goes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from .host import Receipt


def medians_ms(receipts: Sequence[Receipt]) -> dict[str, float]:
    """The median time of every step in milliseconds, in the order of the first receipt."""
    times: dict[str, list[float]] = defaultdict(list)
    for receipt in receipts:
        for step, seconds in receipt.get("steps", {}).items():
            times[step].append(seconds * 1000)
    return {step: statistics.median(each) for step, each in times.items()}


def sentence(receipts: Sequence[Receipt]) -> str:
    """The medians in one line for people."""
    if not receipts:
        return "No receipts."
    shown = ", ".join(f"{step} {value:.1f}" for step, value in medians_ms(receipts).items())
    return f"Steps, median of {len(receipts)} receipts, in ms: {shown}."


def times_ms(receipts: Sequence[Receipt], step: str) -> list[float]:
    """All times of one step in milliseconds."""
    return [receipt["steps"][step] * 1000 for receipt in receipts if step in receipt.get("steps", {})]
