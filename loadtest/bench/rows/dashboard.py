"""What an open dashboard costs the host, how large its page is, and when a browser first shows something of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import process
from ..client import ask, get, post, quantile
from ..par import RunningPar
from ..plan import Bench, Result, at_most, no_errors

AGENTS = 20
# Long enough for a clock of 10 ms: one percent of it is 30 ticks.
WATCHED = 30.0
ASKED_SHARE = 1.0
ASKED_KB = 300.0
ASKED_MS = 500.0
CHECKOUT = Path(__file__).resolve().parents[3]


def dashboard(bench: Bench) -> Result:
    """CPU of `par` and its workers without and with somebody who watches; page; first paint of real Chromium."""
    result = Result("dashboard", "an open dashboard", ["what", "value"])
    if not bench.par:
        return result
    with (
        TemporaryDirectory(prefix="par-bench-") as scratch,
        bench.par.start(str(_package(Path(scratch)))) as running,
    ):
        port = running.server.port
        paths = [f"/agents/agent-{number}/invoke" for number in range(AGENTS)]
        errors = sum(ask(port, post(path, {})).status != 200 for path in paths)
        quiet = _share(running)
        with _watching(running) as lines:
            time.sleep(2)
            seen = len(lines())
            watched = _share(running)
            told = len(lines()) - seen
        page = ask(port, get("/runtime/dashboard"))
        paints = _paints(f"http://127.0.0.1:{port}/runtime/dashboard")
    cost = max(watched - quiet, 0.0)
    result.lines = [
        ["CPU of one core while nobody watches", f"{quiet:.2f} %"],
        [f"the same with an open dashboard, {AGENTS} agents, {told} lines", f"{watched:.2f} %"],
        ["page", f"{len(page.body) / 1024:.1f} KiB"],
        [
            "first paint",
            f"p50 {quantile(paints, 0.5):.0f} ms of {len(paints)}" if paints else "no browser here",
        ],
    ]
    for name, value in result.lines:
        bench.say(f"dashboard: {name}: {value}")
    result.verdicts = [
        no_errors("calls", errors),
        at_most("an open dashboard, share of a core", cost, ASKED_SHARE, " %", 2),
        at_most("the page", len(page.body) / 1024, ASKED_KB, " KiB"),
    ]
    if paints:
        result.verdicts.append(at_most("first paint, median", quantile(paints, 0.5), ASKED_MS, " ms"))
    result.raw = {"quiet": quiet, "watched": watched, "bytes": len(page.body), "paint_ms": paints}
    return result


def _package(directory: Path) -> Path:
    exports = "".join(f"  - {{id: agent-{number}, handler: 'main:run'}}\n" for number in range(AGENTS))
    (directory / "agent.yaml").write_text(f"name: shown\nversion: 1.0.0\nexports:\n{exports}")
    (directory / "main.py").write_text("def run(input):\n    return input\n")
    return directory


def _share(running: RunningPar) -> float:
    """Percent of one core that the whole tree takes for a while."""
    before, begun = process.cpu_seconds(running.server.pid), time.monotonic()
    time.sleep(WATCHED)
    return 100 * (process.cpu_seconds(running.server.pid) - before) / (time.monotonic() - begun)


@contextmanager
def _watching(running: RunningPar) -> Iterator[Callable[[], list[bytes]]]:
    """Read the stream as a page does; yields a function that tells the lines so far."""
    token = (running.home / "data" / "operator.token").read_text().strip()
    read = bytearray()
    with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
        head = f"GET /runtime/dashboard/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        connection.sendall(head.encode())
        connection.setblocking(False)

        def lines() -> list[bytes]:
            try:
                while chunk := connection.recv(1 << 16):
                    read.extend(chunk)
            except BlockingIOError:
                pass
            return [line for line in bytes(read).split(b"\n") if line.startswith(b'{"point"')]

        yield lines


def _paints(url: str) -> list[float]:
    """Milliseconds to the first paint, in fresh pages of one browser."""
    libraries = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "par/tools/browser"
    if not (shutil.which("node") and shutil.which("chromium-headless-shell") and libraries.is_dir()):
        return []
    script = CHECKOUT / "tests/harness/browser/paint.mjs"
    done = subprocess.run(
        ["node", str(script), str(libraries), url], capture_output=True, text=True, check=True, timeout=120
    )
    return [float(one) for one in json.loads(done.stdout)]
