"""What the sandbox costs: the start of a template and of a worker, with it and without."""

from __future__ import annotations

import statistics
from dataclasses import replace

from ..par import Par
from ..plan import Bench, Result, at_most

# One after the other: side by side they would wait for each other, and the cost would count many times.
STARTS = 8
ASKED_TEMPLATE_MS = 2.0
ASKED_FORK_MS = 0.5
STEPS = {
    "start of a template": ("par_rollout_step_seconds", 'step="template"', ASKED_TEMPLATE_MS),
    "fork of a worker": ("par_worker_start_seconds", 'method="fork"', ASKED_FORK_MS),
}


def sandbox(bench: Bench) -> Result:
    """A small package mounted again and again, in turn with and without; means, medians of the rounds."""
    result = Result("sandbox", "The sandbox", ["what", "with it, ms", "without, ms", "difference, ms"])
    if not bench.par:
        return result
    modes = {"auto": bench.par, "off": replace(bench.par, config={**bench.par.config, "sandbox": "off"})}
    seen: dict[str, dict[str, list[float]]] = {what: {mode: [] for mode in modes} for what in STEPS}
    for number in range(1, bench.plan.rounds + 1):
        for mode, par in modes.items():
            for what, mean in _starts(par).items():
                seen[what][mode].append(mean)
        bench.say(f"sandbox {number}/{bench.plan.rounds}")
    for what, (_, _, asked) in STEPS.items():
        with_it, without = (statistics.median(seen[what][mode]) for mode in ("auto", "off"))
        pairs = zip(seen[what]["auto"], seen[what]["off"], strict=True)
        more = statistics.median(on - off for on, off in pairs)
        result.lines.append([what, f"{with_it:.2f}", f"{without:.2f}", f"{more:+.2f}"])
        result.verdicts.append(at_most(f"{what}: what the sandbox adds", more, asked, " ms", 2))
    result.raw = {"ms": seen}
    return result


def _starts(par: Par) -> dict[str, float]:
    """Mean milliseconds of every kind of start."""
    times: dict[str, list[float]] = {what: [] for what in STEPS}
    for _ in range(STARTS):
        with par.start("echo") as running:
            for what, (metric, label, _) in STEPS.items():
                count = running.metric(f"{metric}_count", [label])
                times[what].append(running.metric(f"{metric}_sum", [label]) * 1000 / count)
    return {what: statistics.fmean(each) for what, each in times.items()}
