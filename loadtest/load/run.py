"""One scenario of k6, one command of oha: run to its end, and what it saw."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import process

from .host import Host

SCRIPTS = Path(__file__).resolve().parents[1] / "k6"
# In this order, quiet ones first.
SCENARIOS = (
    "steady",
    "secure",
    "mixed",
    "streaming",
    "sessions",
    "uploads",
    "rollout",
    "spike",
    "concurrent",
    "ramp",
)
# Scenarios that oha runs as well: rate (0: as fast as answers come), connections, agent, body, p95 in ms.
OHA = {
    "oha-steady": (100, 32, "echo", '{"a":1}', 3.0),
    "oha-secure": (100, 32, "echo", '{"a":1}', 3.0),
    "oha-concurrent": (0, 500, "asleep", '{"seconds":1}', 1300.0),
}


@dataclass(frozen=True)
class Seen:
    """What a run saw. Times in milliseconds."""

    name: str
    tool: str
    calls: int
    rate: float
    failed: int
    #: Calls that could not even be started in time.
    dropped: int
    p50: float
    p95: float
    p99: float
    worst: float
    #: CPU seconds of PAR and its workers.
    cpu: float
    #: Thresholds, and whether each holds.
    held: dict[str, bool]

    @property
    def fine(self) -> bool:
        """All of its thresholds hold, and something was measured."""
        return bool(self.calls) and bool(self.held) and all(self.held.values())

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "fine": self.fine}


def k6(binary: Path, name: str, host: Host, seconds: int, scratch: Path, rate: int = 0) -> Seen:
    """Run a script; k6 says with 99 that a threshold does not hold, which is a result."""
    result = scratch / f"{name}.json"
    command = [str(binary), "run", "--quiet", "--no-usage-report", str(SCRIPTS / f"{name}.js")]
    for variable, value in {
        "BASE": host.base,
        "SECONDS": seconds,
        "TOKEN": host.token,
        "RESULT": result,
    }.items():
        command += ["-e", f"{variable}={value}"]
    command += ["-e", f"RATE={rate}"] if rate else []
    before = process.cpu_seconds(host.server.pid)
    with host.rolling() if name == "rollout" else nullcontext():
        _run(command, {99}, seconds)
    cpu = process.cpu_seconds(host.server.pid) - before
    return read_k6(name, json.loads(result.read_text()), cpu)


def read_k6(name: str, told: dict[str, Any], cpu: float) -> Seen:
    """The summary that a script has written."""
    metrics = told["metrics"]
    times = metrics["http_req_duration"]["values"]
    held = {
        f"{metric}: {expression}": bool(verdict["ok"])
        for metric, each in sorted(metrics.items())
        for expression, verdict in each.get("thresholds", {}).items()
    }
    # k6 only mentions what happened.
    checks = metrics.get("checks", {}).get("values", {"fails": 0})
    failed = max(metrics["http_req_failed"]["values"]["passes"], checks["fails"])
    held["every answer is right"] = checks["fails"] == 0
    return Seen(
        name=name,
        tool="k6",
        calls=int(times["count"]),
        rate=metrics["http_reqs"]["values"]["rate"],
        failed=int(failed),
        dropped=int(metrics.get("dropped_iterations", {}).get("values", {}).get("count", 0)),
        p50=times["med"],
        p95=times["p(95)"],
        p99=times["p(99)"],
        worst=times["max"],
        cpu=cpu,
        held=held,
    )


def oha(name: str, host: Host, seconds: int) -> Seen:
    """Run oha; its times count from when a call was due."""
    return _oha(name, OHA[name], host, seconds)


def saturation(host: Host, seconds: int) -> float:
    """Calls of echo a second, as fast as answers come to the bench's 32 connections; what else runs, runs on."""
    return _oha("saturation", (0, 32, "echo", '{"a":1}', math.inf), host, seconds).rate


def echo(host: Host, seconds: int, rate: int) -> tuple[Seen, Seen]:
    """So many calls of echo a second, and beside them a caller with a hundred a second.

    The first is the load. The second tells the times: a tool that has to begin thousands of calls a second on cores that
    it shares falls behind, and what waits in it would be counted.
    """
    with ThreadPoolExecutor(1) as beside:
        bulk = beside.submit(_oha, "echo", (rate, 64, "echo", '{"a":1}', math.inf), host, seconds)
        caller = _oha("caller", (100, 32, "echo", '{"a":1}', math.inf), host, seconds)
        return bulk.result(), caller


def waiting(host: Host, seconds: int) -> Seen:
    """500 calls at once that take a second each, not all in the same moment."""
    return _oha("waiting", (500, 520, "asleep", '{"seconds":1}', 1300.0), host, seconds)


def _oha(name: str, load: tuple[int, int, str, str, float], host: Host, seconds: int) -> Seen:
    rate, connections, agent, body, most = load
    command = [
        "oha",
        "--no-tui",
        "--output-format",
        "json",
        "-c",
        str(connections),
        "-z",
        f"{seconds}s",
        "-m",
        "POST",
    ]
    # Calls that run at the end are waited for: they are no failures.
    command += (
        ["-q", str(rate), "--latency-correction"] if rate else ["--wait-ongoing-requests-after-deadline"]
    )
    if host.token:
        command += ["--insecure", "-H", f"Authorization: Bearer {host.token}"]
    command += ["-T", "application/json", "-d", body, f"{host.base}/agents/{agent}/invoke"]
    before = process.cpu_seconds(host.server.pid)
    told = json.loads(_run(command, set(), seconds))
    return read_oha(name, told, process.cpu_seconds(host.server.pid) - before, most)


def read_oha(name: str, told: dict[str, Any], cpu: float, most: float) -> Seen:
    """What oha has printed; `most` is the bound of its p95."""
    statuses = {int(code): count for code, count in told["statusCodeDistribution"].items()}
    calls = sum(statuses.values())
    late = {"aborted due to deadline"}
    broken = sum(count for why, count in told["errorDistribution"].items() if why not in late)
    failed = broken + calls - statuses.get(200, 0)
    times = told["latencyPercentiles"]
    p50, p95, p99 = (
        times[key] * 1000 if times[key] is not None else float("inf") for key in ("p50", "p95", "p99")
    )
    return Seen(
        name=name,
        tool="oha",
        calls=calls,
        rate=told["summary"]["requestsPerSec"],
        failed=failed,
        dropped=0,
        p50=p50,
        p95=p95,
        p99=p99,
        worst=(told["summary"]["slowest"] or 0) * 1000,
        cpu=cpu,
        held={"no call fails": failed == 0, f"p95 < {most:g} ms": p95 < most},
    )


def _run(command: Sequence[str], also: set[int], seconds: int) -> str:
    # A minute for what still runs at the end.
    environment = {**os.environ, "K6_NO_USAGE_REPORT": "true"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + 120, env=environment
    )
    if done.returncode and done.returncode not in also:
        raise RuntimeError(
            f"{' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return done.stdout
