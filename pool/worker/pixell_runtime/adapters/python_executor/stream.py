"""Calls whose output is told while it is printed.

Enters: work. Leaves: events: `{"type": "stdout" | "stderr", "text"}`, `{"type": "display", "display"}`, and last
`{"type": "result", …}`, the answer without what was told before.
"""

from __future__ import annotations

from typing import Any, Callable

from pixell_runtime.adapters.python_executor.call import Said, Wire
from pixell_runtime.streams import StreamCancelled
from pixell_runtime.told import Told


class Streamed(Told):
    """One call. `perform` is given the wire."""

    def __init__(self, perform: Callable[[Wire], Said], is_abandoned: Callable[[], bool]) -> None:
        self._perform = perform
        self._is_abandoned = is_abandoned

    def run(self, push: Callable[[Any], None]) -> None:
        """Performs the call; returns when all is told."""

        def tell(event: Said) -> bool:
            try:
                push(event)
            except StreamCancelled:
                return False
            return True

        said = self._perform(Wire(tell, self._is_abandoned))
        push({"type": "result", **said})
