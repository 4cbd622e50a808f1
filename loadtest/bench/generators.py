"""The load generators: wrk (closed loop) and oha (open loop, corrected for coordinated omission)."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import process
from .server import Server

SCRIPT = Path(__file__).with_name("post.lua")
# More would only measure how the kernel shares two cores among connections.
MOST_CONNECTIONS = 512


@dataclass(frozen=True)
class Load:
    """What one run of a generator saw. Times in microseconds; `cpu_us` is the server's, per request."""

    rate: float
    p50: float
    p99: float
    p999: float
    requests: int
    errors: int
    cpu_us: float = float("nan")

    @property
    def failed(self) -> bool:
        """A run with errors, or without requests, measures nothing."""
        return self.errors > 0 or self.requests == 0


def wrk(
    server: Server,
    path: str,
    body: str,
    connections: int,
    seconds: float,
    warm_up: float = 0.0,
    token: str = "",
) -> Load:
    """Every connection always has one call out. CPU time is taken over the server's whole tree."""
    assert connections <= MOST_CONNECTIONS
    if warm_up:
        _run(wrk_command(server, path, body, connections, warm_up, token))
    before = process.cpu_seconds(server.pid)
    seen = json.loads(_run(wrk_command(server, path, body, connections, seconds, token)).splitlines()[-1])
    cpu = process.cpu_seconds(server.pid) - before
    requests = seen["requests"]
    return Load(
        rate=requests / (seen["micros"] / 1e6),
        p50=seen["p50"],
        p99=seen["p99"],
        p999=seen["p999"],
        requests=requests,
        errors=sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout")),
        cpu_us=cpu * 1e6 / requests if requests else float("nan"),
    )


def wrk_command(
    server: Server, path: str, body: str, connections: int, seconds: float, token: str = ""
) -> list[str]:
    """The command line, also for a load that runs beside another one."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    return [*command, "-s", str(SCRIPT), server.url(path), "--", body, token]


def oha(server: Server, path: str, body: str, rate: int, seconds: float, token: str = "") -> Load:
    """Calls start on schedule whether or not earlier ones have ended."""
    before = process.cpu_seconds(server.pid)
    seen = json.loads(_run(oha_command(server, path, body, rate, seconds, token)))
    cpu = process.cpu_seconds(server.pid) - before
    return oha_load(seen, cpu)


def oha_command(
    server: Server, path: str, body: str, rate: int, seconds: float, token: str = ""
) -> list[str]:
    """The command line, also for a load that runs beside another one."""
    command = ["oha", "--no-tui", "--output-format", "json", "--latency-correction"]
    command += ["-q", str(rate), "-c", "32", "-z", f"{seconds:g}s", "-m", "POST"]
    command += ["-H", f"Authorization: Bearer {token}"] if token else []
    return [*command, "-T", "application/json", "-d", body, server.url(path)]


def oha_load(seen: Any, cpu: float = math.nan) -> Load:
    """What oha printed as JSON, and the CPU seconds that the server took for it."""
    statuses = {int(code): count for code, count in seen["statusCodeDistribution"].items()}
    requests = sum(statuses.values())
    late = {"aborted due to deadline"}
    failures = sum(n for why, n in seen["errorDistribution"].items() if why not in late)
    times = {name: math.nan if value is None else value for name, value in seen["latencyPercentiles"].items()}
    return Load(
        rate=seen["summary"]["requestsPerSec"],
        p50=times["p50"] * 1e6,
        p99=times["p99"] * 1e6,
        p999=times["p99.9"] * 1e6,
        requests=requests,
        errors=failures + requests - statuses.get(200, 0),
        cpu_us=cpu * 1e6 / requests if requests else math.nan,
    )


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-1000:]}")
    return done.stdout
