"""How many series `/metrics` has is decided by what is mounted, never by who calls."""

from __future__ import annotations

import http.client
import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from conftest import Par, serving

# Of an agent that was called: a counter per code that occurred, two histograms of 18 and 18 buckets with sum and count.
MOST_OF_AN_AGENT = 50


def series(par: Par) -> set[str]:
    """Every series of the metrics port, without its value."""
    connection = http.client.HTTPConnection("127.0.0.1", par.metrics, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def package(name: str, version: str, exports: int) -> bytes:
    """A package with this many agents."""
    out = io.BytesIO()
    listed = "".join(f"  - {{id: agent-{number}, handler: 'main:run'}}\n" for number in range(exports))
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("agent.yaml", f"name: {name}\nversion: '{version}'\nexports:\n{listed}")
        archive.writestr("main.py", "def run(input):\n    return 1\n")
    return out.getvalue()


def call(par: Par, paths: list[str], bodies: bytes = b"{}") -> dict[int, int]:
    """Every path once over one connection; how often each status came."""
    found: dict[int, int] = {}
    connection = http.client.HTTPConnection("127.0.0.1", par.port, timeout=60)
    for number, path in enumerate(paths):
        headers = {
            "Content-Type": "application/json",
            "X-Request-ID": f"request-{number}",
            "X-PAR-Session": f"session-{number}",
            "User-Agent": f"agent-{number}",
        }
        connection.request("POST", path, bodies, headers)
        answer = connection.getresponse()
        answer.read()
        found[answer.status] = found.get(answer.status, 0) + 1
    connection.close()
    return found


def write(directory: Path, name: str, version: str, exports: int = 1) -> Path:
    """The package as a file."""
    path = directory / f"{name}-{version}.apkg"
    path.write_bytes(package(name, version, exports))
    return path


def test_ten_thousand_unknown_agents_add_no_series(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("unknown")
    known = write(directory, "known", "1.0.0")
    with serving(directory, "--dev", str(known)) as par:
        assert call(par, ["/agents/agent-0/invoke", "/agents/nobody/invoke"]) == {200: 1, 404: 1}
        before = series(par)
        forms = [
            "/agents/no-{}/invoke",
            "/runtime/agents/no-{}/invoke",
            "/agents/known@9.{}/invoke",
            "/no/{}",
        ]
        paths = [forms[number % 4].format(number) for number in range(10_000)]
        assert call(par, paths).keys() <= {404, 405}
        assert series(par) == before


def test_the_series_of_an_agent_are_few_and_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("many")
    many = write(directory, "many", "1.0.0", 500)
    with serving(directory, "--dev", str(many)) as par:
        before = len(series(par))
        assert call(par, [f"/agents/agent-{number}/invoke" for number in range(500)]) == {200: 500}
        assert call(par, [f"/agents/agent-{number}/invoke" for number in range(500)], b"[") == {400: 500}
        added = len(series(par)) - before
        assert 500 * 3 <= added <= 500 * MOST_OF_AN_AGENT, added


def test_versions_that_are_gone_leave_no_series(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("gone")
    with serving(directory, "--dev", str(write(directory, "moving", "1.0.0"))) as par:
        # Of each version a call, and a worker that ends.
        for version in ("1.0.1", "1.0.2", "1.0.3"):
            par.load(write(directory, "moving", version))
            assert par.invoke("agent-0", {}) == 1
        for version in ("1.0.0", "1.0.1", "1.0.2"):
            status, told = par.request("DELETE", f"/runtime/packages/moving@{version}")
            assert status in {200, 404}, told
        deadline = time.monotonic() + 30
        while left := [one for one in series(par) if "moving@1.0." in one and "moving@1.0.3" not in one]:
            assert time.monotonic() < deadline, json.dumps(sorted(left)[:10])
            time.sleep(0.1)
