"""One server under test: started on a free loopback port, asked until it answers, ended by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from . import process

# BentoML imports for seconds; an environment with pandas is installed before its first start.
START_SECONDS = 180.0
STOP_SECONDS = 6.0


class StartFailed(Exception):
    """The server ended or did not answer in time."""


class Server:
    """A started server and its processes. Use as a context manager: leaving ends all of them."""

    def __init__(self, name: str, port: int, process_: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self.log = log
        self._process = process_

    @property
    def pid(self) -> int:
        """The process that was started; the others descend from it."""
        return self._process.pid

    def url(self, path: str) -> str:
        """Where to reach `path`."""
        return f"http://127.0.0.1:{self.port}{path}"

    def wait(self, answers: Callable[[], bool]) -> None:
        """Return as soon as `answers` does; raise with the end of the log if it never does."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with suppress(OSError):
                if answers():
                    return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise StartFailed(f"{self.name} does not answer (exit {self._process.poll()}):\n{tail}")

    def stop(self) -> None:
        """Ask, wait, then kill what is left of the tree, each by its own pid."""
        family = process.tree(self.pid)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for member in family:
            now = process.stat(member.pid)
            if now and now.started == member.started:
                with suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    name: str, port: int, command: Sequence[str], folder: Path, env: Mapping[str, str], log: Path
) -> Server:
    """Start `command` in `folder`; everything it prints goes to the file `log`."""
    with log.open("wb") as output:
        process_ = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # No session of its own: the kernel would weigh sessions against each other, and priorities within one alone.
            process_group=0,
        )
    return Server(name, port, process_, log)


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
