"""From nothing to the first answer: the process is started, environments are there, files are in the page cache."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

from ..plan import Bench, Result, Subject


def cold(bench: Bench) -> Result:
    """All servers in turn with their echo."""
    result = Result(
        "cold", "From the start of the process to the first answer", ["server", "median s", "most s"]
    )
    subjects: list[Subject] = [*([bench.par] if bench.par else []), *bench.peers]
    times: dict[str, list[float]] = defaultdict(list)
    # What is installed, compiled or read from the disk for the first time is not the server's start.
    for number in range(bench.plan.handler_rounds + 1):
        for subject in subjects:
            begun = time.monotonic()
            with subject.serve("echo"):
                if number:
                    times[subject.title].append(time.monotonic() - begun)
        bench.say(f"cold {number}/{bench.plan.handler_rounds}: done")
    for name, seen in times.items():
        result.lines.append([name, f"{statistics.median(seen):.2f}", f"{max(seen):.2f}"])
    result.raw = dict(times)
    return result
