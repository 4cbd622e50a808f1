"""The real `par`, the real `pixell` commands, and packages made by them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "par"
# The command `pixell` comes in two generations, each from a distribution of its own.
TOOLS = {"kit": "pixell-kit==0.4.12", "sdk": "pixell-sdk==0.5.4"}


def binary() -> Path:
    """The binary under test: `PAR_BIN`, or what cargo has built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    given = os.environ.get("PAR_BIN") or os.environ.get("PAR_BINARY")
    path = Path(given) if given else target / "debug" / "par"
    assert path.is_file(), f"{path} is missing: build it (cargo build -p par-gateway) or set PAR_BIN"
    return path


def run(*command: str | Path, **options: Any) -> str:
    """Run a command to its end; its failure is the test's."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tool(name: str) -> Path:
    """The `pixell` command of one generation, installed once and kept between runs."""
    requirement = TOOLS[name]
    minor = f"py{sys.version_info.major}.{sys.version_info.minor}"
    home = CACHE / "interop" / f"{requirement.replace('==', '-')}-{minor}"
    command, complete = home / "bin" / "pixell", home / "complete"
    if not complete.exists():
        shutil.rmtree(home, ignore_errors=True)
        if uv := shutil.which("uv"):
            run(uv, "venv", "--quiet", "--python", sys.executable, home)
            run(uv, "pip", "install", "--quiet", "--python", home / "bin" / "python", requirement)
        else:
            run(sys.executable, "-m", "venv", home)
            run(home / "bin" / "python", "-m", "pip", "install", "--quiet", requirement)
        complete.touch()
    return command


def build(name: str, surfaces: tuple[str, ...], directory: Path) -> Path:
    """`pixell init` and `pixell build`, as a person would; none of what they write is kept."""
    pixell = tool(name)
    project = f"{name}-{'-'.join(surfaces) or 'default'}"
    flags = [word for surface in surfaces for word in ("--surface", surface)]
    run(pixell, "init", project, *flags, cwd=directory)
    example, dotenv = directory / project / ".env.example", directory / project / ".env"
    if example.exists():
        shutil.copy(example, dotenv)
    else:
        dotenv.touch()
    out = directory / f"{project}-out"
    out.mkdir()
    run(pixell, "build", "-p", project, "-o", out, cwd=directory)
    (archive,) = out.glob("*.apkg")
    return archive


@dataclass
class Par:
    """A running `par`."""

    port: int
    token: str
    #: Its data directory.
    data: Path
    #: The port of its metrics.
    metrics: int = 0
    scheme: str = "http"

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one request, as an operator."""
        request = urllib.request.Request(
            f"{self.scheme}://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        # Its certificate is its own; what is tested here is not whether that is checked.
        trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def load(self, archive: Path) -> dict[str, Any]:
        """Mount a package."""
        status, told = self.request("POST", "/runtime/packages/load", {"path": str(archive)})
        assert status == 200, told
        return dict(told)

    def invoke(self, agent: str, body: Any) -> Any:
        """Call an agent: body in, result out."""
        status, told = self.request("POST", f"/agents/{agent}/invoke", body)
        assert status == 200, told
        return told


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def serving(data: Path, *arguments: str, **variables: str) -> Iterator[Par]:
    """A `par` with these arguments and variables, its data below `data`, until the end of the block."""
    port, metrics, grpc = free_ports(3)
    port = int(variables.get("PORT", port))
    log = data / "log"
    environment = {
        **os.environ,
        "PORT": str(port),
        "METRICS_PORT": str(metrics),
        "A2A_PORT": str(grpc),
        "PAR_DATA_DIR": str(data),
        "LOG_FORMAT": "json",
        "UV_CACHE_DIR": str(CACHE / "tests" / "uv"),
        **variables,
    }
    with log.open("w") as output:
        child = subprocess.Popen(
            [binary(), "serve", *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while '"event":"ready"' not in log.read_text().replace(" ", ""):
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        scheme = "https" if "--tls" in arguments else "http"
        yield Par(port, (data / "operator.token").read_text().strip(), data, metrics, scheme)
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        finally:
            child.kill()


@pytest.fixture(scope="session")
def par(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Par]:
    """One `par` for all tests: packages of one template must not meet there either."""
    with serving(tmp_path_factory.mktemp("par"), "--dev") as par:
        yield par
