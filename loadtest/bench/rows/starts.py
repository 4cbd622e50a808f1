"""What a fork saves: new workers with pandas and fastapi imported, replacements, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from .. import process
from ..client import Answer, Pool, ask, post, quantile
from ..par import Par, RunningPar
from ..plan import Bench, Result, at_most, no_errors

AGENT = "pandas_fastapi"
HOLD_SECONDS = 6.0
ASKED_FORK_MS = 10.0
ASKED_REPLACE_MS = 50.0
ASKED_WORKER_MB = 8.0
ASKED_GATEWAY_MB = 30.0


def starts(bench: Bench) -> Result:
    """Times are seen from a client over HTTP: request sent to response read."""
    result = Result("starts", "Workers with pandas, numpy and fastapi imported", ["what", "value"])
    if not bench.par:
        return result
    with bench.par.start(AGENT) as running:
        time.sleep(1.0)
        gateway = process.rss_mb(running.server.pid)
        forks, holds = _forks(bench.par, running, bench.plan.forks)
        workers = _Workers(running, holds)
    result.lines += [["gateway idle, RSS", f"{gateway:.1f} MB"], *workers.lines()]
    with bench.par.start(AGENT) as running:
        replaced = _crashes(bench.par, running, bench.plan.crashes)
    for name, values in (("fork to first answer", forks), ("crash seen to next answer", replaced)):
        shown = f"p50 {_p50(values):.1f} ms, most {max(values, default=0):.1f} ms of {len(values)}"
        result.lines.append([name, shown])
        bench.say(f"starts: {name} {shown}")
    result.verdicts = [
        no_errors("calls that hold the workers", sum(answer.status != 200 for answer in holds)),
        at_most("fork to first answer, p50", _p50(forks), ASKED_FORK_MS, " ms"),
        at_most(
            "crashed worker replaced, worst", max(replaced, default=float("nan")), ASKED_REPLACE_MS, " ms"
        ),
        at_most("PSS of a warm worker, mean", workers.mean_pss, ASKED_WORKER_MB, " MB"),
        at_most("gateway idle, RSS", gateway, ASKED_GATEWAY_MB, " MB"),
    ]
    result.raw = {"fork_ms": forks, "replace_ms": replaced, "gateway_rss_mb": gateway, "pss_mb": workers.pss}
    return result


def _forks(par: Par, running: RunningPar, count: int) -> tuple[list[float], list[Answer]]:
    """Hold every warm worker, then ask: the answer can only come from a new one. Milliseconds."""
    hold = post(par.path("hold"), {"seconds": HOLD_SECONDS})
    who = post(par.path("who"), {})
    held = Pool(running.server.port, count)
    known = {ask(running.server.port, who).json["pid"]}
    times = []
    for _ in range(count):
        held.send(hold)
        time.sleep(0.05)
        answer = ask(running.server.port, who)
        pid = answer.json["pid"] if answer.status == 200 else None
        if pid and pid not in known:
            known.add(pid)
            times.append(answer.seconds * 1000)
    answers = held.gather(HOLD_SECONDS * 3)
    held.close()
    return times, answers


def _crashes(par: Par, running: RunningPar, count: int) -> list[float]:
    """From the 502 that tells of the crash to the next good answer. Milliseconds."""
    who, crash = post(par.path("who"), {}), post(par.path("crash"), {})
    times = []
    for _ in range(count):
        for _ in range(20):
            ask(running.server.port, who)
        if ask(running.server.port, crash).status != 502:
            continue
        begun = time.perf_counter()
        while ask(running.server.port, who).status != 200:
            time.sleep(0.001)
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(1.5)
    return times


class _Workers:
    """The memory of the workers that answered the holding calls, while all are alive."""

    def __init__(self, running: RunningPar, holds: Sequence[Answer]) -> None:
        good = {answer.json["pid"] for answer in holds if answer.status == 200}
        pids = [pid for pid in good if process.stat(pid)]
        self.pss = [process.pss_mb(pid) for pid in pids]
        self.private = [process.private_mb(pid) for pid in pids]
        self.whole = process.tree_pss_mb(running.server.pid)

    @property
    def mean_pss(self) -> float:
        """Mean proportional set size of a worker in MB."""
        return statistics.fmean(self.pss) if self.pss else float("nan")

    def lines(self) -> list[list[str]]:
        """For the table."""
        private = statistics.fmean(self.private) if self.private else float("nan")
        return [
            [f"a warm worker, PSS, mean of {len(self.pss)}", f"{self.mean_pss:.1f} MB"],
            ["a warm worker, private memory alone", f"{private:.1f} MB"],
            ["gateway, template and all workers, PSS", f"{self.whole:,.0f} MB"],
        ]


def _p50(values: Sequence[float]) -> float:
    return quantile(values, 0.5)
