"""The work that every timed handler does, on each peer and (copied) in the `timed` agent of PAR."""

from __future__ import annotations

import time


def cpu(microseconds: int) -> None:
    """Burn so much CPU. Counted in CPU time: a wall clock would sell time spent descheduled as work."""
    end = time.thread_time_ns() + microseconds * 1000
    while time.thread_time_ns() < end:
        pass


def sleep(microseconds: int) -> None:
    """Wait as a blocking client of some service would."""
    time.sleep(microseconds / 1_000_000)
