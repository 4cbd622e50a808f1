"""Files of a package's UI, against nginx with the same files, both with their access logs."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .. import tools
from ..client import ask, get
from ..generators import Load, wrk
from ..par import Par
from ..plan import Bench, Result, at_least, median_load, no_errors
from ..server import Server, free_ports, start

CONNECTIONS = 32
ASKED = 0.6
# Bytes. The large one is what a bundle of a dashboard has.
FILES = {"small.js": 2_000, "large.js": 1_000_000}
MANIFEST = "name: pages\nversion: 1.0.0\nui: {path: ui, public: true}\n"
NGINX = """
daemon off;
worker_processes 2;
pid {home}/pid;
error_log {home}/errors;
events {{ worker_connections 512; }}
http {{
    types {{ text/html html; text/javascript js; }}
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    access_log {home}/access;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def ui(bench: Bench) -> Result:
    """Both in turn, several rounds; medians, and medians of the pairs' ratios."""
    header = ["server", "file", "requests/s", "p50 µs", "p99 µs", "CPU µs/request"]
    result = Result("ui", "Static files, 32 connections", header)
    if not bench.par:
        return result
    tools.nginx()
    seen: dict[tuple[str, str], list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        package = _package(Path(scratch) / "pages")
        for number in range(1, bench.plan.rounds + 1):
            for name, serving in (("nginx", _nginx(package / "ui")), ("PAR", _par(bench.par, package))):
                with serving as (server, prefix):
                    for file in FILES:
                        path = f"{prefix}/{file}"
                        load = wrk(server, path, "", CONNECTIONS, bench.plan.seconds, bench.plan.warm_up)
                        seen[name, file].append(load)
                        bench.say(f"ui {number}/{bench.plan.rounds} {name} {file}: {load.rate:,.0f}/s")
    for (name, file), loads in sorted(seen.items(), key=lambda item: item[0][1]):
        load = median_load(loads)
        times = [f"{value:,.0f}" for value in (load.p50, load.p99)]
        result.lines.append([name, file, f"{load.rate:,.0f}", *times, f"{load.cpu_us:,.1f}"])
        result.verdicts.append(no_errors(f"every {file} of {name} came", load.errors))
    for file in FILES:
        pairs = zip(seen["PAR", file], seen["nginx", file], strict=True)
        ratio = statistics.median(par.rate / nginx.rate for par, nginx in pairs)
        result.verdicts.append(
            at_least(f"{file}, requests/s, PAR ÷ nginx, median of pairs", ratio, ASKED, " ×")
        )
    result.raw = {f"{name} {file}": [asdict(load) for load in loads] for (name, file), loads in seen.items()}
    return result


def _package(folder: Path) -> Path:
    (folder / "ui").mkdir(parents=True)
    (folder / "agent.yaml").write_text(MANIFEST)
    (folder / "ui" / "index.html").write_text("<!doctype html><title>pages</title>\n")
    line = "// 0123456789 abcdefghijklmnopqrstuvwxyz\n"
    for name, size in FILES.items():
        (folder / "ui" / name).write_text((line * (size // len(line) + 1))[:size])
    return folder


@contextmanager
def _par(par: Par, package: Path) -> Iterator[tuple[Server, str]]:
    with par.start(str(package)) as running:
        yield running.server, "/agents/pages/ui"


@contextmanager
def _nginx(root: Path) -> Iterator[tuple[Server, str]]:
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        home = Path(scratch)
        (home / "conf").write_text(NGINX.format(home=home, port=port, root=root))
        command = ["nginx", "-p", str(home), "-c", str(home / "conf"), "-e", str(home / "errors")]
        # Its workers give up the rights that they need for temporary folders of root.
        for folder in (root.parent.parent, root.parent, root):
            folder.chmod(0o755)
        with start("nginx", port, command, home, {}, home / "log") as server:
            server.wait(lambda: ask(port, get("/small.js"), 5.0).status == 200)
            yield server, ""
