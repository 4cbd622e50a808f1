"""What an isolated session costs: the first answer of a new one with pandas loaded, and the memory of many."""

from __future__ import annotations

import time

from .. import process
from ..client import ask, post, quantile
from ..par import RunningPar
from ..plan import Bench, Result, at_most, no_errors

AGENT = "pandas_sessions"
#: The figure is promised for so many; with fewer the bound shrinks with them.
PROMISED = 200
ASKED_FIRST_MS = 25.0
ASKED_MB = 2048.0


def sessions(bench: Bench) -> Result:
    """Times are seen from a client over HTTP, one session after the other; every session does some work in pandas."""
    result = Result("sessions", "Isolated sessions with pandas and numpy imported", ["what", "value"])
    if not bench.par:
        return result
    with bench.par.start(AGENT) as running:
        time.sleep(1.0)
        before = process.tree_pss_mb(running.server.pid)
        firsts, errors, pids = _open(bench, running)
        again = _again(bench, running)
        whole = process.tree_pss_mb(running.server.pid)
    count = len(firsts)
    p50, p95 = quantile(firsts, 0.5), quantile(firsts, 0.95)
    result.lines = [
        [f"first answer of a new session, {count} of them", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"],
        [
            "next answer of a session",
            f"p50 {quantile(again, 0.5):.2f} ms, p95 {quantile(again, 0.95):.2f} ms",
        ],
        ["gateway, template and first worker, PSS", f"{before:,.0f} MB"],
        [f"the same with {count} live sessions, PSS", f"{whole:,.0f} MB"],
    ]
    for name, value in result.lines:
        bench.say(f"sessions: {name}: {value}")
    result.verdicts = [
        no_errors("calls of sessions", errors),
        at_most("sessions without a process of their own", float(count - len(pids)), 0.0, ""),
        at_most("first answer of a new isolated session, p95", p95, ASKED_FIRST_MS, " ms"),
        at_most(f"{count} live sessions, PSS", whole, ASKED_MB * count / PROMISED, " MB"),
    ]
    result.raw = {"first_ms": firsts, "again_ms": again, "pss_mb": whole, "pss_before_mb": before}
    return result


def _open(bench: Bench, running: RunningPar) -> tuple[list[float], int, set[int]]:
    """Begins the sessions. Milliseconds to their first answers, how many failed, and their processes."""
    times, errors, pids = [], 0, set()
    for number in range(bench.plan.sessions):
        call = post("/agents/add/invoke", {"value": number}, headers=[f"X-PAR-Session: s-{number}"])
        answer = ask(running.server.port, call)
        if answer.status == 200 and answer.json["rows"] == 1:
            times.append(answer.seconds * 1000)
            pids.add(answer.json["pid"])
        else:
            errors += 1
    return times, errors, pids


def _again(bench: Bench, running: RunningPar) -> list[float]:
    """The second call of each session. Milliseconds."""
    times = []
    for number in range(bench.plan.sessions):
        call = post("/agents/add/invoke", {"value": 1}, headers=[f"X-PAR-Session: s-{number}"])
        answer = ask(running.server.port, call)
        if answer.status == 200 and answer.json["rows"] == 2:
            times.append(answer.seconds * 1000)
    return times
