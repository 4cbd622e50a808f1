"""The PAR that is met by faults, and who starts it again when it has ended, as a unit of systemd would."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import process
from bench.server import free_ports

from .doors import HOST

# Between the end of one process and the start of the next.
PAUSE_SECONDS = 0.2
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class NotReady(Exception):
    """PAR does not become ready where it has to."""


@dataclass(frozen=True)
class Life:
    """One process of PAR: from when to when (seconds of the run), and how it has ended (as `returncode`)."""

    pid: int
    begin: float
    end: float
    status: int


@dataclass
class Host:
    """Its ports and its home stay, its processes come and go."""

    binary: Path
    home: Path
    data: Path
    config: Mapping[str, Any]
    env: Mapping[str, str]
    clock: Callable[[], float]
    lives: list[Life] = field(default_factory=list)
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    _running: subprocess.Popen[bytes] | None = None
    _begin: float = 0.0

    @property
    def port(self) -> int:
        """Where it is called."""
        return self.ports[0]

    @property
    def pid(self) -> int:
        """The process that serves now, or the last one that did."""
        assert self._running is not None
        return self._running.pid

    def start(self) -> None:
        """One more process, on the same home."""
        file = self.home / "par.yaml"
        file.write_text(json.dumps(self.config))
        own = {
            "HOST": HOST,
            "PORT": str(self.ports[0]),
            "METRICS_PORT": str(self.ports[1]),
            "A2A_PORT": str(self.ports[2]),
            "PAR_DATA_DIR": str(self.data),
        }
        self._begin = self.clock()
        with (self.home / f"log-{len(self.lives)}").open("wb") as log:
            self._running = subprocess.Popen(
                [str(self.binary), "serve", "-c", str(file)],
                cwd=self.home,
                env={**os.environ, **own, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    async def keep(self) -> None:
        """Start it again as often as it ends, until this is cancelled."""
        while True:
            if self.ended():
                await asyncio.sleep(PAUSE_SECONDS)
                self.start()
            await asyncio.sleep(0.02)

    def ended(self) -> bool:
        """Whether the process is gone; its life is then on record."""
        assert self._running is not None
        status = self._running.poll()
        if status is None:
            return False
        if not self.lives or self.lives[-1].pid != self._running.pid:
            self.lives.append(Life(self._running.pid, self._begin, self.clock(), status))
        return True

    async def ready(self) -> None:
        """Wait until it says that it is."""
        end = self.clock() + READY_SECONDS
        while self.clock() < end:
            with suppress(OSError, http.client.HTTPException):
                if await asyncio.to_thread(self._health) == 200:
                    return
            await asyncio.sleep(0.1)
        log = self.log(len(self.lives))
        raise NotReady(f"PAR is not ready after {READY_SECONDS:g} s:\n{log[-3000:]}")

    async def stop(self) -> None:
        """Ask it to end, and insist after a while."""
        self.signal(signal.SIGTERM)
        end = self.clock() + STOP_SECONDS
        while not self.ended() and self.clock() < end:
            await asyncio.sleep(0.05)
        if not self.ended():
            self.signal(signal.SIGKILL)
            while not self.ended():
                await asyncio.sleep(0.02)

    def signal(self, number: int) -> None:
        """To the process of PAR alone."""
        if not self.ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ask(self, *arguments: str) -> str:
        """What a command of `par` prints about this data directory."""
        env = {**os.environ, "PAR_DATA_DIR": str(self.data)}
        done = subprocess.run(
            [str(self.binary), *arguments], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotReady(f"par {' '.join(arguments)}: exit {done.returncode}: {done.stderr[-1000:]}")
        return done.stdout

    def log(self, number: int) -> str:
        """All that its process of this number has written."""
        return (self.home / f"log-{number}").read_text(errors="replace")

    def _health(self) -> int:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        finally:
            connection.close()


def templates(par: int) -> list[int]:
    """Processes that have imported a package and fork workers, the oldest first."""
    return [entry.pid for entry in _oldest_first(par) if entry.parent == par and _serves(entry.pid)]


def workers(par: int) -> list[int]:
    """Processes that serve calls, the oldest first."""
    parents = set(templates(par))
    return [entry.pid for entry in _oldest_first(par) if entry.parent in parents]


def _oldest_first(par: int) -> list[process.Stat]:
    return sorted(process.tree(par), key=lambda entry: (entry.started, entry.pid))


def _serves(pid: int) -> bool:
    """Whether it runs our Python code, and is no installer."""
    try:
        return b"/worker/" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
