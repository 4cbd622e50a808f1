"""`pixell_runtime.connect()` in another process, over the local socket: what a call of an orchestrator costs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..par import Par
from ..plan import Bench, Result, at_most, no_errors

WORKER = Path(__file__).resolve().parents[3] / "pool" / "worker"
#: Calls a second; 0: without a pause, so many.
RATES = (0, 100)
BACK_TO_BACK = 5_000
ASKED_P95 = 400.0
# One call after the other, begun as a clock would: a call that takes longer than its turn would show in all figures.
CALLER = """
import json, sys, time
import pixell_runtime

place, rate, count, warm_up, lane = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
times, errors = [], 0

def left(number, begin):
    return max(0.0, begin + number / rate - time.perf_counter()) if rate else 0.0

if lane == "call":
    client = pixell_runtime.connect(place)
    for _ in range(warm_up):
        client.call("echo", message="hi")
    begin = time.perf_counter()
    for number in range(count):
        if early := left(number, begin):
            time.sleep(early)
        started = time.perf_counter()
        errors += client.call("echo", message="hi") != {"message": "hi"}
        times.append((time.perf_counter() - started) * 1e6)
else:
    import asyncio

    async def main():
        global errors
        async with pixell_runtime.connect(place) as client:
            for _ in range(warm_up):
                await client.acall("echo", message="hi")
            begin = time.perf_counter()
            for number in range(count):
                if early := left(number, begin):
                    await asyncio.sleep(early)
                started = time.perf_counter()
                errors += await client.acall("echo", message="hi") != {"message": "hi"}
                times.append((time.perf_counter() - started) * 1e6)

    asyncio.run(main())
print(json.dumps({"times": times, "errors": errors}))
"""


def client(bench: Bench) -> Result:
    """Calls one by one, with and without a pause, from threads' code and from an event loop; medians of the rounds."""
    result = Result(
        "client",
        "pixell_runtime.connect() from another process",
        ["call", "load", "p50 µs", "p95 µs", "p99 µs"],
    )
    if not bench.par:
        return result
    seen: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, bench.plan.rounds + 1):
        for lane in ("call", "acall"):
            for rate in RATES:
                name = f"{lane}, {rate}/s" if rate else f"{lane}, without a pause"
                rounds = seen.setdefault(name, [])
                rounds.append(_round(bench, bench.par, lane, rate))
                p95 = _percentile(rounds[-1]["times"], 95)
                bench.say(f"client {number}/{bench.plan.rounds} {name}: p95 {p95:,.0f} µs")
    for name, rounds in seen.items():
        middle = {
            percent: statistics.median(_percentile(one["times"], percent) for one in rounds)
            for percent in (50, 95, 99)
        }
        lane, load = name.split(", ")
        result.lines.append([lane, load, *(f"{middle[percent]:,.0f}" for percent in (50, 95, 99))])
        if lane == "call":
            result.verdicts.append(at_most(f"connect().call, p95, {load}", middle[95], ASKED_P95, " µs", 0))
    errors = sum(one["errors"] for rounds in seen.values() for one in rounds)
    result.verdicts.append(no_errors("every call was answered", errors))
    result.raw = {
        name: [[round(_percentile(one["times"], percent), 1) for percent in range(1, 100)] for one in rounds]
        for name, rounds in seen.items()
    }
    return result


def _round(bench: Bench, par: Par, lane: str, rate: int) -> dict[str, Any]:
    count = rate * bench.plan.seconds or BACK_TO_BACK
    warm_up = rate * bench.plan.warm_up or BACK_TO_BACK // 5
    with par.start("echo") as running:
        place = str(running.home / "data" / "par.sock")
        arguments = [place, str(rate), str(count), str(warm_up), lane]
        command = [sys.executable, "-c", CALLER, *arguments]
        env = {"PYTHONPATH": str(WORKER), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]
