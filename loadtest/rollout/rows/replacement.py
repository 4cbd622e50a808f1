"""A release that differs in code alone, from `reload` to all new calls on it; and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench.plan import Result, Verdict, at_most, no_errors

from .. import steps
from ..caller import all_on, failures, first_answer
from ..host import Host
from ..plan import Trial, Unexpected
from ..stage import NAME, stage

ASKED_ABOVE_IMPORT_MS = 300.0
ASKED_SWITCH_MS = 1.0
ASKED_ROLLBACK_MS = 20.0
SWITCH = "switch"


def replacement(trial: Trial) -> Result:
    """Every round brings in a newer release and, where there is an index, takes it back."""
    title = f"Code-only rollouts and rollbacks: {trial.plan.reloads} rounds, one keep-alive caller"
    result = Result("replacement", title, ["what", "median ms", "worst ms"])
    above: list[float] = []
    imports: list[float] = []
    whole: list[float] = []
    back: list[float] = []
    failed = 0
    with stage(trial) as made:
        for release in range(1, trial.plan.reloads + 1):
            made.publish(release)
            with made.watch() as watch:
                begun = time.perf_counter()
                made.bring()
                watch.settle(release, 30.0)
            failed += failures(watch.seen)
            # The package says how long its imports took in the process that made them.
            imports.append(watch.seen[-1].import_seconds * 1000)
            whole.append((all_on(watch.seen, release) - begun) * 1000)
            above.append(whole[-1] - imports[-1])
            if trial.by == "index":
                with made.watch() as watch:
                    begun = time.perf_counter()
                    _roll_back(made.host)
                    watch.settle(0, 30.0)
                failed += failures(watch.seen)
                back.append((first_answer(watch.seen, 0) - begun) * 1000)
        receipts = made.host.receipts(NAME)
    switch = steps.times_ms(receipts, SWITCH)
    for name, times in (
        ("reload to all new calls on green", whole),
        ("of that, the package's own imports", imports),
        ("reload to all new calls on green, above imports", above),
        ("the switch, from receipts", switch),
        ("rollback to first answer of the former", back),
    ):
        result.lines.append([name, *_shown(times)])
    result.verdicts = [
        _worst("code-only rollout above the package's imports, worst", above, ASKED_ABOVE_IMPORT_MS, 0),
        _worst("the switch, worst", switch, ASKED_SWITCH_MS, 3),
        _worst("rollback to first answer, worst", back, ASKED_ROLLBACK_MS, 1),
        no_errors("calls meanwhile", failed),
    ]
    result.notes.append(steps.sentence(receipts))
    result.raw = {
        "rollout_ms": whole,
        "import_ms": imports,
        "above_ms": above,
        "switch_ms": switch,
        "rollback_ms": back,
        "receipts": receipts,
    }
    return result


def _roll_back(host: Host) -> None:
    answer = host.operate(f"/runtime/packages/{NAME}/rollback", {})
    if answer.status != 200:
        raise Unexpected(f"rollback: {answer.status} {answer.body[:500]!r}")


def _worst(what: str, times: Sequence[float], asked: float, digits: int) -> Verdict:
    return at_most(what, max(times, default=float("nan")), asked, " ms", digits)


def _shown(times: Sequence[float]) -> list[str]:
    if not times:
        return ["–", "–"]
    return [f"{statistics.median(times):.2f}", f"{max(times):.2f}"]
