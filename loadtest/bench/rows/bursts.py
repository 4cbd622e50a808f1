"""Five hundred calls at the same moment: waiting ones, computing ones, and more than is allowed."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace

from .. import process
from ..client import Answer, Call, Pool, post, quantile
from ..par import Par, RunningPar
from ..plan import Bench, Result, Verdict, at_least, at_most, no_errors

CALLS = 500
SECOND_US = 1_000_000
CPU_US = 50_000
ASKED_ASYNC_SECONDS = 1.2
ASKED_SYNC_SECONDS = 4.0
ASKED_PSS_MB = 2500.0
# Of the cores' whole capacity; the gateway, the client and the kernel need the rest.
ASKED_SHARE = 0.9
ALLOWED = 100
SHORT_DEADLINE_MS = 2000


def bursts(bench: Bench) -> Result:
    """Each burst meets a freshly started PAR: growth is part of what is measured."""
    header = ["burst", "answered", "refused", "other", "last answer s", "p50 s", "memory, workers"]
    result = Result("bursts", f"{CALLS} calls at the same moment", header)
    if bench.par:
        for burst in (_asynchronous, _blocking, _computing, _too_many, _too_late):
            burst(bench.par, result)
            bench.say(f"bursts: {', '.join(result.lines[-1])}")
    return result


def _asynchronous(par: Par, result: Result) -> None:
    with par.start("awaited") as running:
        answers = _burst(running, [post(par.path("asleep"), {"us": SECOND_US})] * CALLS)
        memory = _memory(running)
    _tell(result, "asynchronous, 1 s", answers, memory)
    result.verdicts += [
        no_errors(f"{CALLS} asynchronous calls of 1 s", _failures(answers)),
        at_most(
            f"{CALLS} asynchronous calls of 1 s: last answer after",
            _last(answers),
            ASKED_ASYNC_SECONDS,
            " s",
            2,
        ),
    ]


def _blocking(par: Par, result: Result) -> None:
    with par.start("timed") as running:
        answers = _burst(running, [post(par.path("sleep"), {"us": SECOND_US})] * CALLS)
        pss = process.tree_pss_mb(running.server.pid)
        memory = _memory(running)
    _tell(result, "blocking, 1 s", answers, memory)
    result.verdicts += [
        no_errors(f"{CALLS} blocking calls of 1 s", _failures(answers)),
        at_most(
            f"{CALLS} blocking calls of 1 s: last answer after", _last(answers), ASKED_SYNC_SECONDS, " s", 2
        ),
        at_most(f"{CALLS} blocking calls of 1 s: PSS of all processes", pss, ASKED_PSS_MB, " MB", 0),
    ]


def _computing(par: Par, result: Result) -> None:
    cores = os.cpu_count() or 1
    with par.start("timed") as running, _Census(running.server.pid) as census:
        answers = _burst(running, [post(par.path("cpu"), {"us": CPU_US})] * CALLS)
    _tell(result, f"{CPU_US // 1000} ms of CPU", answers, f"{census.most} workers")
    busy = sum(answer.status == 200 for answer in answers) * CPU_US / 1e6 / _last(answers)
    result.verdicts += [
        no_errors(f"{CALLS} calls of {CPU_US // 1000} ms CPU", _failures(answers)),
        at_most(f"{CALLS} calls of {CPU_US // 1000} ms CPU: workers at most", census.most, 2 * cores, "", 0),
        at_least(
            f"{CALLS} calls of {CPU_US // 1000} ms CPU: cores kept busy by handlers, of {cores}",
            busy,
            ASKED_SHARE * cores,
        ),
    ]


def _too_many(par: Par, result: Result) -> None:
    tight = replace(par, env={"MAX_CONCURRENT_INVOCATIONS": str(ALLOWED)})
    with tight.start("awaited") as running:
        answers = _burst(running, [post(par.path("asleep"), {"us": SECOND_US})] * (2 * ALLOWED))
    _tell(result, f"{2 * ALLOWED} where {ALLOWED} are allowed", answers, "")
    served = sum(answer.status == 200 for answer in answers)
    what = f"{2 * ALLOWED} calls where {ALLOWED} are allowed: served"
    result.verdicts += [
        Verdict(what, str(ALLOWED), str(served), served == ALLOWED),
        _honest(
            f"{2 * ALLOWED} calls where {ALLOWED} are allowed: the others get 503 with Retry-After", answers
        ),
    ]


def _too_late(par: Par, result: Result) -> None:
    headers = [f"X-PAR-Timeout-Ms: {SHORT_DEADLINE_MS}"]
    with par.start("timed") as running:
        calls = [post(par.path("cpu"), {"us": CPU_US}, headers=headers)] * CALLS
        answers = _burst(running, calls)
    name = f"{CPU_US // 1000} ms of CPU, deadline {SHORT_DEADLINE_MS // 1000} s"
    _tell(result, name, answers, "")
    refused = [answer for answer in answers if answer.status == 503]
    # Of the others the last ones had begun when their deadline came: a few for each worker.
    begun = (os.cpu_count() or 1) * SHORT_DEADLINE_MS * 1000 // CPU_US
    early = quantile([answer.seconds for answer in refused], 0.9) if refused else float("nan")
    result.verdicts += [
        _honest(f"{name}: who cannot start in time gets 503 with Retry-After", answers),
        at_least(f"{name}: refused", len(refused), CALLS - 2 * begun, "", 0),
        at_most(
            f"{name}: nine of ten refusals, long before the deadline",
            early,
            0.5 * SHORT_DEADLINE_MS / 1000,
            " s",
            2,
        ),
        at_least(f"{name}: answered", sum(a.status == 200 for a in answers), 0.5 * begun, "", 0),
    ]


def _honest(what: str, answers: Sequence[Answer]) -> Verdict:
    # 504 is honest too: that call had started and met its deadline. Nobody refused shows nothing.
    unserved = [answer for answer in answers if answer.status not in (200, 504)]
    honest = [a for a in unserved if a.status == 503 and (a.header("Retry-After") or "").isdigit()]
    is_met = bool(unserved) and len(honest) == len(unserved)
    return Verdict(what, "all", f"{len(honest)} of {len(unserved)}", is_met)


def _burst(running: RunningPar, calls: Sequence[Call]) -> list[Answer]:
    pool = Pool(running.server.port, len(calls))
    try:
        return pool.burst(calls, 60.0)
    finally:
        pool.close()


def _memory(running: RunningPar) -> str:
    workers = len(_workers(running.server.pid))
    return f"{process.tree_pss_mb(running.server.pid):,.0f} MB, {workers} workers"


def _workers(root: int) -> list[int]:
    """The leaves of the process tree: templates have children, workers have none."""
    family = process.tree(root)
    parents = {member.parent for member in family}
    return [member.pid for member in family if member.pid not in parents and member.pid != root]


class _Census:
    """Counts workers while a burst runs."""

    def __init__(self, root: int) -> None:
        self.most = 0
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def _count(self) -> None:
        while not self._over.wait(0.2):
            self.most = max(self.most, len(_workers(self._root)))

    def __enter__(self) -> _Census:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _failures(answers: Sequence[Answer]) -> int:
    return sum(answer.status != 200 for answer in answers)


def _last(answers: Sequence[Answer]) -> float:
    return max(answer.seconds for answer in answers)


def _tell(result: Result, name: str, answers: Sequence[Answer], memory: str) -> None:
    good = [answer.seconds for answer in answers if answer.status == 200]
    refused = sum(answer.status == 503 for answer in answers)
    other = sorted({answer.status for answer in answers} - {200, 503})
    p50 = f"{quantile(good, 0.5):.2f}"
    shown = ", ".join(f"{sum(a.status == code for a in answers)} × {code}" for code in other)
    line = [name, str(len(good)), str(refused), shown or "0", f"{_last(answers):.2f}", p50, memory]
    result.lines.append(line)
    result.raw[name] = {"statuses": sorted(answer.status for answer in answers), "last": _last(answers)}
