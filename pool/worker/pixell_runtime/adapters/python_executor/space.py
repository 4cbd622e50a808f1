"""Where the code of one session lives.

Enters: a session. Leaves: its `Space`; calls without a session make one that ends with them. Its module is
`__main__` while code runs in it, so that what is defined there can be pickled and finds its own annotations.
"""

from __future__ import annotations

import linecache
import sys
import types
from collections import deque
from typing import Any

from pixell_runtime.adapters.python_executor.display import display
from pixell_runtime.context import Session

_KEY = "pixell_runtime.python_executor"

#: Codes whose lines are kept for tracebacks: functions of earlier calls fail in later ones. A session that
#: executes a code every second for eight hours must not keep all 28,800.
KEPT_CODES = 256


class Space:
    """The globals of a session, and the lines of its latest codes."""

    def __init__(self) -> None:
        self.module = types.ModuleType("__main__")
        self.module.__dict__["display"] = display
        self._count = 0
        self._files: deque[str] = deque()

    @property
    def names(self) -> dict[str, Any]:
        """The globals."""
        return self.module.__dict__

    def enter(self, code: str) -> str:
        """Becomes `__main__`, and gives the code a file name under which tracebacks find its lines."""
        sys.modules["__main__"] = self.module
        self._count += 1
        name = f"<code {self._count}>"
        if len(self._files) >= KEPT_CODES:
            linecache.cache.pop(self._files.popleft(), None)
        self._files.append(name)
        # Without a time of modification the cache never looks for a file.
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        return name

    def public(self) -> dict[str, Any]:
        """The globals without an underscore in front, and without what was there before the code."""
        names = dict(self.names)
        return {name: names[name] for name in names if name[:1] != "_" and names[name] is not display}


def of(session: Session) -> Space:
    """The space of a session."""
    space = session.state.get(_KEY)
    if space is None:
        space = session.state[_KEY] = Space()
    found: Space = space
    return found
