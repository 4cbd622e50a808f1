"""What traces cost: echo with one trace in a hundred kept and sent, and with all of them, against without a receiver."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict

from ..generators import Load, wrk
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_least, median_load, no_errors
from ..spans import receiver, traced

CONNECTIONS = 32
SHARES = {"without": None, "1 % kept": "0.01", "all kept": "1"}


def traces(bench: Bench) -> Result:
    """All of them in turn, several rounds; medians."""
    header = ["PAR", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "spans sent", "spans dropped"]
    result = Result("traces", "Echo with traces kept and sent by OTLP", header)
    if not bench.par:
        return result
    seen: dict[str, list[Load]] = defaultdict(list)
    spans: dict[str, dict[str, float]] = {}
    with receiver() as port:
        for number in range(1, bench.plan.rounds + 1):
            for mode, share in SHARES.items():
                par = bench.par if share is None else traced(bench.par, port, share)
                with par.start("echo") as running:
                    load = wrk(
                        running.server,
                        par.path("echo"),
                        ECHO_TEXT,
                        CONNECTIONS,
                        bench.plan.seconds,
                        bench.plan.warm_up,
                    )
                    spans[mode] = {
                        outcome: running.metric("par_telemetry_total", (f'outcome="{outcome}"',))
                        for outcome in ("sent", "dropped")
                    }
                seen[mode].append(load)
                bench.say(f"traces {number}/{bench.plan.rounds} {mode}: {load.cpu_us:.1f} µs of CPU a call")
    middle = {mode: median_load(loads) for mode, loads in seen.items()}
    for mode, load in middle.items():
        figures = [load.rate, load.p50, load.p99]
        told = [f"{spans[mode][outcome]:,.0f}" for outcome in ("sent", "dropped")]
        result.lines.append([mode, *(f"{value:,.0f}" for value in figures), f"{load.cpu_us:,.1f}", *told])
    result.verdicts = [
        no_errors("every echo answered", sum(load.errors for load in middle.values())),
        at_least("spans sent where 1 % are kept", spans["1 % kept"]["sent"], 1.0, ""),
    ]
    result.raw = {
        "rounds": {mode: [asdict(load) for load in loads] for mode, loads in seen.items()},
        "spans": spans,
    }
    return result
