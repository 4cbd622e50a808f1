"""Items that come while something runs, instead of being asked for one by one.

Enters: a function that takes items. Leaves: items, from whatever thread has them, until `run` returns. A handler
returns a `Told` where a generator would have to give up the thread on which its work is done.
"""

from __future__ import annotations

import abc
from typing import Any, Callable


class Told(abc.ABC):
    """What a handler returns instead of a generator."""

    @abc.abstractmethod
    def run(self, push: Callable[[Any], None]) -> None:
        """Calls `push` for each item, one call at a time. `push` waits while the caller is slow; it raises
        `StreamCancelled` when the caller has left."""
