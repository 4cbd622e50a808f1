"""The time that a call has.

Enters: its time-out. Leaves: what remains of it, and `DeadlineExceeded` when nothing does.
"""

from __future__ import annotations

import time

from pixell_runtime.client.errors import DeadlineExceeded

#: Seconds that an answer may be late: the runtime keeps the time itself, and its own answer says more than ours.
GRACE = 1.0


class Clock:
    """Runs from when it is made."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"a time-out is a number of seconds above 0, not {timeout!r}")
        self._end = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds that the runtime still has; none: no end."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise late()
        return left

    def patience(self) -> float | None:
        """Seconds that we still wait; none: no end."""
        if self._end is None:
            return None
        left = self._end + GRACE - time.monotonic()
        if left <= 0:
            raise late()
        return left

    def allows(self, seconds: float) -> bool:
        """Whether so many can be waited, and there is still something left."""
        return self._end is None or time.monotonic() + seconds < self._end


def late() -> DeadlineExceeded:
    """There was no answer in time, not even that there was no result in time."""
    return DeadlineExceeded("no answer came in time", code="deadline_exceeded", status=504)
