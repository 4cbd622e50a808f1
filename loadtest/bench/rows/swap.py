"""New code under load: what callers notice when each server takes it in its own way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from ..generators import wrk_command
from ..par import AGENTS, Par
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, no_errors
from ..server import Server

CONNECTIONS = 32
SECONDS = 6
SWAPS = 3
#: How peers take new code: a signal that starts new workers and lets the old ones finish.
RELOADS = {"gunicorn_fastapi": signal.SIGHUP, "granian_fastapi": signal.SIGHUP, "granian_rsgi": signal.SIGHUP}


def swap(bench: Bench) -> Result:
    """Three swaps in six seconds of load, each server with the same code again."""
    header = ["server", "requests/s", "p50 µs", "p99 ms", "p99.9 ms", "failed"]
    result = Result("swap", f"{SWAPS} swaps of the code under load, {CONNECTIONS} connections", header)
    if bench.par:
        seen = _par(bench.par)
        result.lines.append([bench.par.title, *_cells(seen)])
        result.raw[bench.par.name] = seen
        result.verdicts = [no_errors("PAR answers every call while code is swapped", _failed(seen))]
    for peer in bench.peers:
        if peer.name in RELOADS:
            with peer.serve("echo") as server:
                reload = partial(os.kill, server.pid, RELOADS[peer.name])
                seen = _swapped(server, peer.path("echo"), reload)
            result.lines.append([peer.title, *_cells(seen)])
            result.raw[peer.name] = seen
    bench.say("swap: done")
    return result


def _par(par: Par) -> dict[str, float]:
    with ExitStack() as stack:
        running = stack.enter_context(par.start("echo"))
        package = running.copy(AGENTS / "echo")

        def load() -> None:
            # Equal bytes are no new version.
            (package / "version.txt").write_text(str(time.time_ns()))
            running.load(package)

        return _swapped(running.server, par.path("echo"), load)


def _swapped(server: Server, path: str, swap: Callable[[], None]) -> dict[str, float]:
    command = wrk_command(server, path, ECHO_TEXT, CONNECTIONS, SECONDS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        for _ in range(SWAPS):
            time.sleep(SECONDS / (SWAPS + 1))
            swap()
        output, _ = load.communicate()
    seen: dict[str, float] = json.loads(output.splitlines()[-1])
    return seen


def _failed(seen: dict[str, float]) -> int:
    return round(sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout")))


def _cells(seen: dict[str, float]) -> list[str]:
    rate = seen["requests"] / (seen["micros"] / 1e6)
    times = [f"{seen['p50']:,.0f}", f"{seen['p99'] / 1000:,.1f}", f"{seen['p999'] / 1000:,.1f}"]
    return [f"{rate:,.0f}", *times, f"{_failed(seen)}"]
