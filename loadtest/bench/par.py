"""PAR as the server under test: normal mode, JSON logs into a file, metrics and metering on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import client
from .server import Server, StartFailed, free_ports, start

AGENTS = Path(__file__).with_name("agents")
# The package that has a handler, if it is not `timed`.
PACKAGES = {"echo": "echo", "frames": "frames", "asleep": "awaited"}


@dataclass(frozen=True)
class Par:
    """One way to run PAR. `config` becomes its configuration file (JSON is YAML)."""

    binary: Path
    name: str = "par"
    title: str = "PAR"
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self, *agents: str, home: Path | None = None) -> RunningPar:
        """Start with these example packages (or paths of others) and wait until it is ready with all of them.

        A `home` that is given has been used before, or will be again.
        """
        home = home or Path(tempfile.mkdtemp(prefix="par-bench-"))
        port, metrics_port, a2a_port = free_ports(3)
        config = home / "par.yaml"
        roots = {"packages": {"load_roots": [str(home)]}}
        config.write_text(json.dumps({**roots, **self.config}))
        command = [str(self.binary), "serve", "-c", str(config)]
        command += [str(AGENTS / agent) for agent in agents]
        env = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "A2A_PORT": str(a2a_port),
            "PAR_DATA_DIR": str(home / "data"),
            **self.env,
        }
        server = start(self.name, port, command, home, env, home / "log")
        running = RunningPar(server, home, metrics_port, a2a_port, self.binary)
        try:
            server.wait(running.ready)
            running.check(len(agents))
        except BaseException:
            running.stop()
            raise
        return running

    @contextmanager
    def serve(self, handler: str = "echo") -> Iterator[Server]:
        """Start with the package that has this handler; end it when the block ends."""
        with self.start(PACKAGES.get(handler, "timed")) as running:
            yield running.server

    def offers(self, _handler: str) -> bool:
        """It has every handler of the bench."""
        return True

    def path(self, handler: str) -> str:
        """Where an agent is called."""
        return f"/agents/{handler}/invoke"


@dataclass(frozen=True)
class RunningPar:
    """A started PAR with its temporary home."""

    server: Server
    home: Path
    metrics_port: int
    a2a_port: int
    binary: Path

    def ready(self) -> bool:
        """Has every package that was named at the start been mounted, or failed?"""
        return client.ask(self.server.port, client.get("/health"), 5.0).status == 200

    def check(self, packages: int) -> None:
        """Raise unless all of them were mounted."""
        seen = self.packages()
        if seen.get("failed") or len(seen["packages"]) != packages:
            raise StartFailed(f"PAR did not mount every package: {json.dumps(seen)[:2000]}")

    def packages(self) -> Any:
        """`GET /runtime/packages` over the local socket, where identity does not matter."""
        return json.loads(self._ask("packages", "--json"))

    def copy(self, package: Path) -> Path:
        """A package directory of its own, which may be changed and loaded."""
        return Path(shutil.copytree(package, self.home / package.name))

    def load(self, package: Path) -> None:
        """Put these bytes in the place of what serves under the same id."""
        self._ask("load", "--force", str(package))

    def _ask(self, *arguments: str) -> str:
        env = {**os.environ, "PAR_DATA_DIR": str(self.home / "data")}
        done = subprocess.run(
            [str(self.binary), *arguments], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StartFailed(f"par {arguments[0]}: exit {done.returncode}: {done.stderr[-500:]}")
        return done.stdout

    def metric(self, name: str, labels: Sequence[str] = ()) -> float:
        """The sum of all series of a metric that carry these `key="value"` labels."""
        answer = client.ask(self.metrics_port, client.get("/metrics"))
        total = 0.0
        for line in answer.body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(label in series for label in labels):
                total += float(value)
        return total

    def stop(self) -> None:
        """End it and remove its home; the log stays if PAR_BENCH_KEEP names a folder for it."""
        self.server.stop()
        keep = os.environ.get("PAR_BENCH_KEEP")
        if keep:
            target = Path(keep) / f"{self.server.name}-{self.server.pid}.log"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.server.log, target)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
