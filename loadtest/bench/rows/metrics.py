"""What a page of metrics costs where many agents are mounted and all were called."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from ..client import ask, get, post, quantile
from ..par import RunningPar
from ..plan import Bench, Result, at_most, no_errors

AGENTS = 500
ASKED_MS = 50.0
PAGES = 50


def metrics(bench: Bench) -> Result:
    """One package of 500 agents; each is called with a result and with an error, so that it has all its series."""
    result = Result("metrics", f"`GET /metrics` with {AGENTS} agents", ["what", "value"])
    if not bench.par:
        return result
    with (
        TemporaryDirectory(prefix="par-bench-") as scratch,
        bench.par.start(str(_package(Path(scratch)))) as running,
    ):
        empty, size, series = _pages(running)
        result.lines = [
            [
                "page before any call",
                f"{quantile(empty, 0.5):.2f} ms, {size / 1024:,.0f} KiB, {series} series",
            ]
        ]
        errors = _call(running)
        times, size, series = _pages(running)
    worst = max(times)
    result.lines += [
        ["the same with every agent called", f"{size / 1024:,.0f} KiB, {series:,} series"],
        [f"{PAGES} pages", f"p50 {quantile(times, 0.5):.1f} ms, worst {worst:.1f} ms"],
    ]
    for name, value in result.lines:
        bench.say(f"metrics: {name}: {value}")
    result.verdicts = [
        no_errors("calls of 500 agents", errors),
        at_most(f"/metrics with {AGENTS} agents, worst of {PAGES}", worst, ASKED_MS, " ms"),
    ]
    result.raw = {"ms": times, "bytes": size, "series": series}
    return result


def _package(directory: Path) -> Path:
    exports = "".join(f"  - {{id: agent-{number}, handler: 'main:run'}}\n" for number in range(AGENTS))
    (directory / "agent.yaml").write_text(f"name: many\nversion: 1.0.0\nexports:\n{exports}")
    (directory / "main.py").write_text("def run(input):\n    return input\n")
    return directory


def _call(running: RunningPar) -> int:
    errors = 0
    for number in range(AGENTS):
        path = f"/agents/agent-{number}/invoke"
        errors += ask(running.server.port, post(path, {})).status != 200
        errors += (
            ask(running.server.port, post(path, {}, headers=["X-PAR-Timeout-Ms: nothing"])).status == 200
        )
    return errors


def _pages(running: RunningPar) -> tuple[list[float], int, int]:
    """Milliseconds of each page, and bytes and series of the last."""
    times, body = [], b""
    for _ in range(PAGES):
        begun = time.perf_counter()
        body = ask(running.metrics_port, get("/metrics")).body
        times.append((time.perf_counter() - begun) * 1000)
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    return times, len(body), series
