"""Which processors are whose. Callers in the world have their own; here they can be given one half of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def can_be_parted() -> bool:
    """Whether there is more than one."""
    return len(os.sched_getaffinity(0)) > 1


@contextmanager
def lower_half() -> Iterator[None]:
    """What is started in this block runs on these alone: a server."""
    with _on(slice(None, len(os.sched_getaffinity(0)) // 2)):
        yield


@contextmanager
def upper_half() -> Iterator[None]:
    """The same for callers, and for this thread."""
    with _on(slice(len(os.sched_getaffinity(0)) // 2, None)):
        yield


@contextmanager
def _on(part: slice) -> Iterator[None]:
    before = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, before[part])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
