"""One keep-alive connection that asks again and again which release answers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from bench.client import HOST

from .plan import Unexpected

# So many answers of the new release in succession: nothing of the old one is left on the way.
SETTLED = 50


@dataclass(frozen=True)
class Seen:
    """One call: when (seconds of `perf_counter`) and by which release it was answered; status 0: never."""

    sent: float
    received: float
    status: int
    release: int
    import_seconds: float


class Caller:
    """Calls one agent over one connection, which it opens again when the server has closed it."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=30)
        self._path = path

    def call(self) -> Seen:
        """One call and its answer."""
        sent = time.perf_counter()
        try:
            self._connection.request("POST", self._path, b"{}", {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Seen(sent, time.perf_counter(), 0, -1, 0.0)
        received = time.perf_counter()
        said = json.loads(body) if answer.status == 200 else {}
        return Seen(sent, received, answer.status, said.get("release", -1), said.get("import_seconds", 0.0))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Watch:
    """Calls from a thread of its own as long as the block lasts, `pause` seconds apart."""

    def __init__(self, port: int, path: str, pause: float = 0.0) -> None:
        self.seen: list[Seen] = []
        self._caller = Caller(port, path)
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def settle(self, release: int, seconds: float) -> None:
        """Return when `release` alone has answered for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            last = self.seen[-SETTLED:]
            if len(last) == SETTLED and all(each.release == release for each in last):
                return
            time.sleep(0.002)
        raise Unexpected(f"release {release} does not answer after {seconds:g} s: {self.seen[-1:]}")

    def _run(self) -> None:
        while not self._over.is_set():
            self.seen.append(self._caller.call())
            if self._pause:
                self._over.wait(self._pause)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._caller.close()


def failures(seen: Sequence[Seen]) -> int:
    """Calls that were not answered with 200."""
    return sum(each.status != 200 for each in seen)


def first_answer(seen: Sequence[Seen], release: int) -> float:
    """When the first answer of `release` was there."""
    return next(each.received for each in seen if each.release == release)


def all_on(seen: Sequence[Seen], release: int) -> float:
    """From when on every call that was sent was answered by `release`."""
    other = max((n for n, each in enumerate(seen) if each.release != release), default=-1)
    return seen[other + 1].sent
