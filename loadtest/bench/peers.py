"""The servers that PAR is measured against, each with two workers and its logs of requests off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from . import tools
from .client import ask, post
from .server import Server, free_ports, start

ECHO_BODY = {"message": "hello", "n": 1}
ECHO_TEXT = json.dumps(ECHO_BODY, separators=(",", ":"))


@dataclass(frozen=True)
class Peer:
    """How to start one peer. `handlers`: the paths it offers besides `/echo`."""

    name: str
    title: str
    command: Callable[[Path, int], list[str]]
    handlers: frozenset[str] = frozenset()
    folder: str = ""
    env: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def serve(self, _handler: str = "echo") -> Iterator[Server]:
        """Install if need be, start, wait for the first good answer; end it when the block ends."""
        binaries = tools.environment(self.name)
        port = free_ports(1)[0]
        folder = tools.PEERS / (self.folder or self.name)
        env = {"PYTHONPATH": str(tools.PEERS), "PYTHONDONTWRITEBYTECODE": "1", **self.env}
        with TemporaryDirectory(prefix="bench-") as scratch:
            log = Path(scratch) / "log"
            with start(self.name, port, self.command(binaries, port), folder, env, log) as server:
                server.wait(lambda: ask(port, post("/echo", ECHO_BODY), 5.0).status == 200)
                yield server

    def versions(self) -> str:
        """What its requirements were resolved from."""
        first = (tools.PEERS / self.name / "requirements.txt").read_text().partition("\n")[0]
        return first.rpartition("from: ")[2]

    def offers(self, handler: str) -> bool:
        """Whether this peer has such a handler."""
        return handler == "echo" or handler in self.handlers

    def path(self, handler: str) -> str:
        """Where a handler is called."""
        return f"/{handler}"


def _uvicorn(binaries: Path, port: int) -> list[str]:
    command = [str(binaries / "uvicorn"), "--workers", "2", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    return [*command, "--loop", "uvloop", "--http", "httptools", "app:app"]


def _gunicorn(binaries: Path, port: int) -> list[str]:
    command = [str(binaries / "gunicorn"), "-k", "uvicorn_worker.UvicornWorker", "-w", "2"]
    return [*command, "-b", f"127.0.0.1:{port}", "--log-level", "warning", "app:app"]


def _granian(interface: str) -> Callable[[Path, int], list[str]]:
    def command(binaries: Path, port: int) -> list[str]:
        line = [str(binaries / "granian"), "--interface", interface, "--workers", "2"]
        line += ["--port", str(port), "--loop", "uvloop", "--no-ws"]
        return [*line, "--no-access-log", "--log-level", "warning", "app:app"]

    return command


def _mosec(binaries: Path, port: int) -> list[str]:
    command = [str(binaries / "python"), "app.py", "--address", "127.0.0.1"]
    return [*command, "--port", str(port), "--log-level", "warning"]


def _litserve(binaries: Path, port: int) -> list[str]:
    return [str(binaries / "python"), "app.py", str(port)]


def _bentoml(binaries: Path, port: int) -> list[str]:
    return [str(binaries / "bentoml"), "serve", "app:Echo", "--host", "127.0.0.1", "--port", str(port)]


def _ray(binaries: Path, port: int) -> list[str]:
    return [str(binaries / "python"), "app.py", str(port)]


RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # The bench is run by uv; without this Ray would start its workers by it as well.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
FASTAPI_HANDLERS = frozenset({"cpu", "sleep", "asleep"})

PEERS = (
    Peer("gunicorn_fastapi", "gunicorn + uvicorn + FastAPI", _gunicorn, FASTAPI_HANDLERS),
    Peer("mosec", "mosec", _mosec, frozenset({"cpu"})),
    Peer("bare_asgi", "bare ASGI on uvicorn", _uvicorn, FASTAPI_HANDLERS),
    Peer(
        "granian_fastapi",
        "granian + FastAPI",
        _granian("asgi"),
        FASTAPI_HANDLERS,
        folder="gunicorn_fastapi",
    ),
    Peer("granian_rsgi", "bare RSGI on granian", _granian("rsgi")),
    Peer("litserve", "LitServe", _litserve),
    Peer("bentoml", "BentoML", _bentoml, env={"BENTOML_DO_NOT_TRACK": "true"}),
    Peer(
        "ray_serve",
        "Ray Serve",
        _ray,
        env=RAY,
    ),
)

# With a library that takes a second to import; in rows of its own.
PANDAS = Peer("pandas_fastapi", "gunicorn + uvicorn + FastAPI", _gunicorn, frozenset({"frames"}))
