"""What the sandbox costs: the start of a template and of a worker, with it and without."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..par import AGENTS, Par, RunningPar
from ..plan import Bench, Result, at_most

# One after the other: side by side they would wait for each other, and the cost would count many times.
STARTS = 10
# The first ones of a runtime compile its worker's code and fill caches, which is no business of the sandbox.
WARM = 2
ASKED_TEMPLATE_MS = 2.0
ASKED_FORK_MS = 0.5
STEPS = {
    "start of a template": ("par_rollout_step_seconds", 'step="template"', ASKED_TEMPLATE_MS),
    "fork of a worker": ("par_worker_start_seconds", 'method="fork"', ASKED_FORK_MS),
}
PACKAGE = "echo"
COMPILED = "**/__pycache__/*.complete"


@dataclass(frozen=True)
class _Side:
    """A running PAR whose only package is replaced again and again."""

    running: RunningPar
    package: Path

    def start(self, release: int) -> dict[str, float]:
        """Replace the package by one with other bytes; milliseconds of every kind of start in it, means."""
        before = {what: self._counted(metric, label) for what, (metric, label, _) in STEPS.items()}
        with (self.package / "echo.py").open("a") as source:
            source.write(f"# release {release}\n")
        self.running.load(self.package)
        after = {what: self._counted(metric, label) for what, (metric, label, _) in STEPS.items()}
        return {
            what: (after[what][1] - before[what][1]) * 1000 / (after[what][0] - before[what][0])
            for what in STEPS
        }

    def _counted(self, metric: str, label: str) -> tuple[float, float]:
        count, total = (self.running.metric(f"{metric}_{part}", [label]) for part in ("count", "sum"))
        return count, total


def sandbox(bench: Bench) -> Result:
    """A small package replaced again and again, in turn with and without; medians of starts side by side."""
    result = Result("sandbox", "The sandbox", ["what", "with it, ms", "without, ms", "difference, ms"])
    if not bench.par:
        return result
    free = replace(bench.par, config={**bench.par.config, "sandbox": "off"})
    seen: dict[str, list[tuple[float, float]]] = {what: [] for what in STEPS}
    for number in range(1, bench.plan.rounds + 1):
        with _side(bench.par) as caged, _side(free) as loose:
            for release in range(WARM + STARTS):
                # Whoever comes second in turn finds caches of the processor as the other left them.
                order = (caged, loose) if release % 2 else (loose, caged)
                times = {side.running.server.pid: side.start(release) for side in order}
                if release < WARM:
                    continue
                on, off = times[caged.running.server.pid], times[loose.running.server.pid]
                for what, pairs in seen.items():
                    pairs.append((on[what], off[what]))
        bench.say(f"sandbox {number}/{bench.plan.rounds}")
    for what, (_, _, asked) in STEPS.items():
        with_it, without = (statistics.median(side) for side in zip(*seen[what], strict=True))
        more = statistics.median(on - off for on, off in seen[what])
        result.lines.append([what, f"{with_it:.2f}", f"{without:.2f}", f"{more:+.2f}"])
        result.verdicts.append(at_most(f"{what}: what the sandbox adds", more, asked, " ms", 2))
    result.raw = {"ms": seen}
    return result


@contextmanager
def _side(par: Par) -> Iterator[_Side]:
    with par.start(PACKAGE) as running:
        # Until the worker's own code is compiled a template compiles for itself, as far as it comes.
        running.server.wait(lambda: any(running.home.glob(f"data/{COMPILED}")))
        yield _Side(running, running.copy(AGENTS / PACKAGE))
