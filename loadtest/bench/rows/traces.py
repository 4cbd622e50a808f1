"""What traces cost: echo with one trace in a hundred kept and sent, and with all of them, against without a receiver."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..generators import Load, wrk
from ..par import Par
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_least, at_most, median_load, no_errors

CONNECTIONS = 32
#: All that is observed may cost a tenth; traces are one part of it.
ASKED_CPU = 1.05
SHARES = {"without": None, "1 % kept": "0.01", "all kept": "1"}


def traces(bench: Bench) -> Result:
    """All of them in turn, several rounds; medians."""
    header = ["PAR", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "spans sent", "spans dropped"]
    result = Result("traces", "Echo with traces kept and sent by OTLP", header)
    if not bench.par:
        return result
    seen: dict[str, list[Load]] = defaultdict(list)
    spans: dict[str, dict[str, float]] = {}
    with _receiver() as port:
        for number in range(1, bench.plan.rounds + 1):
            for mode, share in SHARES.items():
                par = bench.par if share is None else _traced(bench.par, port, share)
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
    pairs = zip(seen["1 % kept"], seen["without"], strict=True)
    more = [kept.cpu_us / without.cpu_us for kept, without in pairs]
    result.verdicts = [
        no_errors("every echo answered", sum(load.errors for load in middle.values())),
        at_most("CPU a call, 1 % kept ÷ without, median of pairs", statistics.median(more), ASKED_CPU, " ×"),
        at_least("spans sent where 1 % are kept", spans["1 % kept"]["sent"], 1.0, ""),
    ]
    result.raw = {
        "rounds": {mode: [asdict(load) for load in loads] for mode, loads in seen.items()},
        "more": more,
        "spans": spans,
    }
    return result


def _traced(par: Par, port: int, share: str) -> Par:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": share,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    return replace(par, env={**par.env, **env})


class _Taker(BaseHTTPRequestHandler):
    """Takes everything and looks at nothing: what receivers do is not measured here."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def _receiver() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
