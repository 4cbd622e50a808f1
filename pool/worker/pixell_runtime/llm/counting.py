"""The counts of answers that come in parts.

Enters: each part, with the response that it belongs to. Leaves: `usage.record` of what is new in it: providers tell
the sum so far, some once at the end, some in every part.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

from pixell_runtime import usage
from pixell_runtime.llm.reading import UNKNOWN, said


class _Sum:
    """What one response has cost so far."""

    __slots__ = ("counts", "model")

    def __init__(self) -> None:
        self.model = UNKNOWN
        self.counts: dict[str, int] = {}


_lock = threading.Lock()
_sums: WeakKeyDictionary[Any, _Sum] = WeakKeyDictionary()


def count(data: Any, response: Any) -> None:
    """Records what a part of a response adds. Of what was made before and is only looked at, nothing."""
    model, counts = said(data)
    if model is None and not counts:
        return
    request = response.request
    if request.method != "POST" or request.url.path.endswith("/cancel"):
        return
    with _lock:
        sum_ = _sums.get(response)
        if sum_ is None:
            sum_ = _sums[response] = _Sum()
        if model is not None:
            sum_.model = model
        more = {name: amount - sum_.counts.get(name, 0) for name, amount in counts.items()}
        more = {name: amount for name, amount in more.items() if amount > 0}
        for name, amount in more.items():
            sum_.counts[name] = sum_.counts.get(name, 0) + amount
    if more:
        usage.record(model=sum_.model, **more)
