"""Whether a call is tried again, and when. Pure: what has failed in, seconds or nothing out.

A call that may have run is never sent again: nobody but its author knows what running twice would do. That leaves
calls that were not sent, and those of which the runtime says itself that they have not begun.
"""

from __future__ import annotations

from pixell_runtime.client.errors import CallError, Unavailable, Unreachable

#: Tries of one call, the first included.
TRIES = 3

#: Seconds before the second and the third try of a place where nobody answers: a runtime that is being restarted
#: is back in the second one.
PAUSES = (0.05, 0.5)

#: Longest `Retry-After` that is waited for. A caller who is told to come back later than that decides for itself.
PATIENCE = 5.0

#: How a place looks where something is being restarted, or has too many callers at this moment; none: it closed the
#: connection. A host that does not answer at all has had its time.
RESTARTING = (
    ConnectionRefusedError,
    ConnectionResetError,
    BrokenPipeError,
    FileNotFoundError,
    BlockingIOError,
    type(None),
)

#: What a moment can change. An agent that was disabled stays so until somebody does something.
PASSING = frozenset(
    ("queue_full", "not_ready", "stopping", "crash_loop", "identity_unavailable", "metering_unavailable")
)


def pause(failure: CallError, tries: int) -> float | None:
    """Seconds until the next try, after so many; none: it is over."""
    if tries >= TRIES:
        return None
    seconds: float | None = None
    if isinstance(failure, Unreachable) and isinstance(failure.__cause__, RESTARTING):
        seconds = PAUSES[min(tries, len(PAUSES)) - 1]
    elif isinstance(failure, Unavailable) and failure.code in PASSING:
        seconds = failure.retry_after
    return None if seconds is None or seconds > PATIENCE else seconds
