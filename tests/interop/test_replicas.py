"""Several replicas behind Debian's HAProxy, with the configuration of `conf/haproxy`."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import CHECKOUT, Par, free_ports, serving

NAMES = ["one", "two", "three"]
CONFIG = CHECKOUT / "conf" / "haproxy" / "haproxy.cfg"
CALLERS = 6
SESSIONS = 45


@dataclass
class Replicas:
    """Three `par`, each of which can be restarted at its address, and the proxy before them."""

    directory: Path
    ports: dict[str, int]
    proxy: int = 0
    running: dict[str, ExitStack] = field(default_factory=dict)

    def start(self, name: str) -> Par:
        """Start one; it is ready when this returns."""
        data = self.directory / name
        data.mkdir(exist_ok=True)
        stack = ExitStack()
        agents = [str(CHECKOUT / "tests" / "agents" / agent) for agent in ("hello", "sessions")]
        # Three checks of a tenth of a second are over long before.
        times = {"SHUTDOWN_DELAY_SEC": "2", "GRACEFUL_SHUTDOWN_TIMEOUT_SEC": "10"}
        par = stack.enter_context(
            serving(data, *agents, HOST="127.0.0.1", PORT=str(self.ports[name]), **times)
        )
        self.running[name] = stack
        return par

    def stop(self, name: str) -> None:
        """SIGTERM, and wait for its end."""
        self.running.pop(name).close()

    def ask(self, command: str) -> str:
        """What the proxy says at its socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.directory / "h.sock"))
            line.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def up(self) -> set[str]:
        """The replicas to which the proxy sends calls."""
        rows = [row.split(",") for row in self.ask("show stat").splitlines() if row.startswith("par,")]
        return {row[1] for row in rows if row[1] in NAMES and row[17] == "UP"}

    def wait_until_up(self, names: set[str]) -> None:
        """Until the proxy sees exactly these."""
        deadline = time.monotonic() + 30
        while self.up() != names:
            assert time.monotonic() < deadline, self.ask("show stat")
            time.sleep(0.02)


@contextmanager
def haproxy(replicas: Replicas) -> Iterator[None]:
    """Debian's, until the end of the block."""
    (replicas.proxy,) = free_ports(1)
    environment = {
        **os.environ,
        "PAR_HAPROXY_SOCKET": str(replicas.directory / "h.sock"),
        "PAR_HAPROXY_BIND": f"127.0.0.1:{replicas.proxy}",
        "PAR_HAPROXY_CHECK": "100ms",
        **{f"PAR_REPLICA_{name.upper()}": f"127.0.0.1:{replicas.ports[name]}" for name in NAMES},
    }
    command = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(CONFIG)]
    log = replicas.directory / "haproxy.log"
    checked = subprocess.run([*command, "-c"], env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and "WARNING" not in checked.stderr, checked.stderr
    with log.open("w") as output:
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while not (replicas.directory / "h.sock").exists():
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        replicas.wait_until_up(set(NAMES))
        yield
    finally:
        child.terminate()
        child.wait(timeout=20)


@pytest.fixture
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Three of them, up behind the proxy."""
    three = Replicas(tmp_path_factory.mktemp("r"), dict(zip(NAMES, free_ports(3), strict=True)))
    try:
        for name in NAMES:
            three.start(name)
        with haproxy(three):
            yield three
    finally:
        for name in list(three.running):
            three.stop(name)


@dataclass
class Callers:
    """Threads that call without a pause, each over a connection of its own that it keeps."""

    port: int
    over: threading.Event = field(default_factory=threading.Event)
    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Callers:
        self.threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.over.is_set():
            try:
                connection.request(
                    "POST", "/agents/hello/invoke", b"{}", {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                # Not even a closed connection is forgiven: the proxy keeps those of its clients.
                self.failed.append(repr(error))
                connection.close()
                continue
            if answer.status == 200:
                self.answered.append(answer.headers["X-Replica"])
            else:
                self.failed.append(f"{answer.status} {body[:300]!r}")
        connection.close()


def test_a_rolling_restart_of_all_replicas_fails_no_call(replicas: Replicas) -> None:
    with Callers(replicas.proxy) as callers:
        for name in NAMES:
            seen = len(callers.answered)
            replicas.stop(name)
            replicas.wait_until_up(set(NAMES) - {name})
            replicas.start(name)
            replicas.wait_until_up(set(NAMES))
            assert len(callers.answered) > seen
        # Each has answered since its restart.
        since = len(callers.answered)
        deadline = time.monotonic() + 20
        while set(callers.answered[since:]) != set(NAMES):
            assert time.monotonic() < deadline, set(callers.answered[since:])
            time.sleep(0.02)
    assert callers.failed == [], callers.failed[:5]


def say(replicas: Replicas, session: str) -> tuple[int, str, int]:
    """One call in a session: status, the replica that answered, and how many calls of it that one remembers."""
    connection = http.client.HTTPConnection("127.0.0.1", replicas.proxy, timeout=30)
    headers = {"Content-Type": "application/json", "X-PAR-Session": session}
    connection.request("POST", "/agents/chat/invoke", json.dumps({"text": "x"}), headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, answer.headers["X-Replica"], len(told["said"]) if answer.status == 200 else 0


def test_sessions_stay_where_they_are_while_another_replica_is_away(replicas: Replicas) -> None:
    homes = {}
    for session in (f"session-{number}" for number in range(SESSIONS)):
        status, homes[session], turns = say(replicas, session)
        assert (status, turns) == (200, 1)
    assert set(homes.values()) == set(NAMES)
    replicas.stop("two")
    replicas.wait_until_up({"one", "three"})
    for session, home in homes.items():
        status, replica, turns = say(replicas, session)
        # Those of the replica that is away begin anew with others; none of the rest has moved.
        expected = (home, 2) if home != "two" else (replica, 1)
        assert (status, replica, turns) == (200, *expected), session
    replicas.start("two")
    replicas.wait_until_up(set(NAMES))
    for session, home in homes.items():
        status, replica, turns = say(replicas, session)
        assert replica == home, session
        if home != "two":
            assert (status, turns) == (200, 3), session
        else:
            # It is told once that what it had kept is lost, and is then a new one.
            assert status == 410 and say(replicas, session) == (200, "two", 1), session
