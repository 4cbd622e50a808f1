"""A PAR whose home outlives it, and what an operator asks of it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import process
from bench.client import Answer, Call, ask, get, post
from bench.par import RunningPar
from bench.server import free_ports, start

from .plan import Unexpected

# A rollout that waits for an install, behind a hundred others.
OPERATION_SECONDS = 180.0
# So long the number of processes must not change before memory is looked at.
CALM_SECONDS = 5.0
CALM_WITHIN_SECONDS = 90.0

Receipt = dict[str, Any]


@dataclass(frozen=True)
class Host(RunningPar):
    """A started PAR; `begun` is when (seconds of `perf_counter`)."""

    begun: float

    @property
    def port(self) -> int:
        """Where it answers."""
        return self.server.port

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.home / "data"

    def operate(self, path: str, body: Any) -> Answer:
        """`POST path` as the operator."""
        return ask(self.port, post(path, body, headers=[self._token()]), OPERATION_SECONDS)

    def look(self, path: str) -> Any:
        """`GET path` as the operator."""
        call: Call = get(path, [self._token()])
        answer = ask(self.port, call, OPERATION_SECONDS)
        if answer.status != 200:
            raise Unexpected(f"{path}: {answer.status} {answer.body[:500]!r}")
        return answer.json

    def receipts(self, package: str) -> list[Receipt]:
        """The receipts of a package, newest first; none if this PAR writes none."""
        try:
            listed: list[Receipt] = self.look("/runtime/rollouts")["rollouts"]
        except Unexpected:
            return []
        return [receipt for receipt in listed if receipt.get("package") == package]

    def calm(self) -> None:
        """Wait until no process has come or gone for a while."""
        end = time.monotonic() + CALM_WITHIN_SECONDS
        before: set[int] = set()
        since = time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < CALM_SECONDS:
            now = {entry.pid for entry in process.tree(self.server.pid)}
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.25)

    def _token(self) -> str:
        return f"Authorization: Bearer {(self.data / 'operator.token').read_text().strip()}"


def launch(
    binary: Path,
    env: Mapping[str, str],
    config: Mapping[str, Any],
    *sources: str,
    home: Path | None = None,
) -> Host:
    """Start it on free ports and return at once. `stop` removes its home; `server.stop` leaves it."""
    home = home or Path(tempfile.mkdtemp(prefix="rollout-"))
    port, metrics_port, a2a_port = free_ports(3)
    file = home / "par.yaml"
    file.write_text(json.dumps(config))
    command = [str(binary), "serve", *(["-c", str(file)] if config else []), *sources]
    own = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "A2A_PORT": str(a2a_port),
        "PAR_DATA_DIR": str(home / "data"),
    }
    begun = time.perf_counter()
    server = start("par", port, command, home, {**own, **env}, home / "log")
    return Host(server, home, metrics_port, a2a_port, binary, begun)


def descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(os.listdir(f"/proc/{pid}/task"))


def disk(folder: Path) -> tuple[float, int]:
    """Megabytes on disk and files below a folder."""
    blocks = files = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                blocks += (Path(where) / name).lstat().st_blocks
            except FileNotFoundError:
                continue
            files += 1
    return blocks * 512 / 1e6, files
