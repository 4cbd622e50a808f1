"""From replacing the index to the first answer of the new version, with nobody telling PAR."""

from __future__ import annotations

import statistics
import time

from bench.plan import Result, at_most, no_errors

from .. import steps
from ..caller import failures, first_answer
from ..plan import Trial
from ..stage import NAME, stage

INTERVAL_SECONDS = 1.0
ASKED_ABOVE_INTERVAL_SECONDS = 5.0
LOOK_EVERY_SECONDS = 0.005


def publication(trial: Trial) -> Result:
    """Each publication happens at another moment of the interval."""
    count = trial.plan.publications
    title = f"From publishing to live: {count} publications, poll interval {INTERVAL_SECONDS:g} s"
    result = Result("publication", title, ["what", "value"])
    if trial.by != "index":
        result.notes.append("Without an index nothing is polled.")
        return result
    seconds: list[float] = []
    failed = 0
    with stage(trial, f"{INTERVAL_SECONDS:g}s") as made:
        for release in range(1, count + 1):
            with made.watch(LOOK_EVERY_SECONDS) as watch:
                time.sleep(INTERVAL_SECONDS * release / count)
                begun = time.perf_counter()
                made.publish(release)
                watch.settle(release, 60.0)
            failed += failures(watch.seen)
            seconds.append(first_answer(watch.seen, release) - begun)
        receipts = made.host.receipts(NAME)
    middle = statistics.median(seconds)
    result.lines = [
        ["index replaced to first answer, median", f"{middle:.2f} s"],
        ["index replaced to first answer, worst", f"{max(seconds):.2f} s"],
    ]
    asked = INTERVAL_SECONDS + ASKED_ABOVE_INTERVAL_SECONDS
    result.verdicts = [
        at_most("published to live, worst", max(seconds), asked, " s", 2),
        no_errors("calls meanwhile", failed),
    ]
    result.notes.append(steps.sentence(receipts))
    result.raw = {"seconds": seconds, "receipts": receipts}
    return result
