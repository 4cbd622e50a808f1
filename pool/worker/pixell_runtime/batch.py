"""Work that nobody waits for: while it lasts, the process does not interrupt others (SCHED_BATCH).

Unlike a nice value, which only a privileged process takes back and every fork inherits, the policy can be
left again.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def batch() -> Iterator[None]:
    """Make the calling thread, and those that it starts, a batch task; a system that refuses is obeyed."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    _become(os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        _become(policy, param)


def _become(policy: int, param: os.sched_param) -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, policy, param)
