"""A package's own gRPC service behind PAR, against the same service on its own port."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import tools
from ..client import quantile
from ..par import AGENTS, Par
from ..plan import Bench, Result, at_most
from ..server import free_ports, start

AGENT = "grpc_own"
PATH = "/bench.Echo/Say"
CALLS = 2_000
ASKED_US = 200.0


def grpc(bench: Bench) -> Result:
    """Both in turn, several rounds; one call after the other."""
    result = Result("grpc", "gRPC, unary, one call after the other", ["server", "p50 µs", "p99 µs"])
    if not bench.par:
        return result
    binaries = tools.environment(AGENT, AGENTS)
    seen: dict[str, list[list[float]]] = defaultdict(list)
    for number in range(1, bench.plan.rounds + 1):
        for name, serving in (("its own port", _alone(binaries)), ("PAR", _par(bench.par))):
            with serving as (address, metadata):
                times = _ask(binaries, address, metadata)
            seen[name].append(times)
            bench.say(f"grpc {number}/{bench.plan.rounds} {name}: p50 {quantile(times, 0.5):.0f} µs")
    middle: dict[str, float] = {}
    for name, rounds in seen.items():
        middle[name] = statistics.median(quantile(times, 0.5) for times in rounds)
        slow = statistics.median(quantile(times, 0.99) for times in rounds)
        result.lines.append([name, f"{middle[name]:.0f}", f"{slow:.0f}"])
    pairs = zip(seen["PAR"], seen["its own port"], strict=True)
    more = statistics.median(quantile(par, 0.5) - quantile(alone, 0.5) for par, alone in pairs)
    result.verdicts = [at_most("gRPC unary, what PAR adds at p50, median of pairs", more, ASKED_US, " µs")]
    result.raw = {"p50_us": {name: [quantile(each, 0.5) for each in rounds] for name, rounds in seen.items()}}
    return result


def _ask(binaries: Path, address: str, metadata: str) -> list[float]:
    client = str(tools.PEERS / "grpc_client.py")
    command = [str(binaries / "python"), client, address, PATH, str(CALLS), *filter(None, [metadata])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout)
    return times


@contextmanager
def _par(par: Par) -> Iterator[tuple[str, str]]:
    with par.start(AGENT) as running:
        yield f"127.0.0.1:{running.a2a_port}", "x-agent-id=grpc-own"


@contextmanager
def _alone(binaries: Path) -> Iterator[tuple[str, str]]:
    (port,) = free_ports(1)
    command = [str(binaries / "python"), "service.py", str(port)]
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        log = Path(scratch) / "log"
        with start("grpc", port, command, AGENTS / AGENT, {"PYTHONDONTWRITEBYTECODE": "1"}, log):
            # The client waits until it is connected.
            yield f"127.0.0.1:{port}", ""
