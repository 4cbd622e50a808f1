"""A small `par`: starts a real template, forks real workers, and speaks frames with them.

Enters: a package as source text. Leaves: what the processes answered. Every wait has a limit.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections import deque
from pathlib import Path
from typing import Any

from pixell_runtime.frames import Decoder, Frame, Kind, encode
from pixell_runtime.journal import JOURNAL_SIZE, RESTING

MAIN = Path(__file__).parent.parent / "pixell_runtime" / "__main__.py"
PATIENCE = 15.0

ECHO = "def run(value):\n    return value\n"

# A handler that waits until the test lets it go on, with a file as the gate.
GATE = """
import os, time
def run(value):
    if isinstance(value, dict) and "gate" in value:
        print("waiting", flush=True)
        while not os.path.exists(value["gate"]):
            time.sleep(0.002)
    return value
"""


def export(
    attribute: str, ident: str | None = None, threads: int = 1, module: str = "main"
) -> dict[str, Any]:
    return {
        "id": ident or attribute,
        "module": module,
        "attribute": attribute,
        "class_method": None,
        "concurrency": 100,
        "threads": threads,
    }


class Gateway:
    """One generation: a template and its workers."""

    def __init__(
        self,
        root: Path,
        source: str,
        exports: list[dict[str, Any]],
        *,
        preload: bool = True,
        sandbox: dict[str, Any] | None = None,
        layer: int | None = None,
        surfaces: dict[str, Any] | None = None,
        path: list[str] | None = None,
        kits: list[str] | None = None,
        python: str = sys.executable,
    ) -> None:
        """`path` is searched behind the package, `kits` behind everything else."""
        (root / "main.py").write_text(source)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        self.control = ours
        self.workers: list[WorkerEnd] = []
        self.log = (root / "template.log").open("w+b")
        self.process = subprocess.Popen(
            [python, "-I", "-B", str(MAIN)],
            stdin=theirs,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={"PATH": os.environ["PATH"]},
        )
        theirs.close()
        self.said: deque[dict[str, Any]] = deque()
        init = {
            "package": "test@1.0.0",
            "root": str(root),
            "sys_path": [str(root), *(path or [])],
            "kits": kits or [],
            "exports": exports,
            "preload": preload,
            "dev": False,
            "sandbox": sandbox,
            "surfaces": surfaces,
        }
        layers = [] if layer is None else [layer]
        socket.send_fds(ours, [json.dumps({"init": init}).encode()], layers)

    def send(self, message: dict[str, Any]) -> None:
        self.control.send(json.dumps(message).encode())

    def expect(self, name: str) -> dict[str, Any]:
        """The next control message with this name; others wait."""
        for message in tuple(self.said):
            if name in message:
                self.said.remove(message)
                return message
        while True:
            data = self.control.recv(1 << 20)
            assert data, f"the template ended before it said {name}: {self.template_output()}"
            message = json.loads(data)
            if name in message:
                return message
            self.said.append(message)

    def ready(self) -> dict[str, Any]:
        return self.expect("ready")["ready"]

    def fork(self) -> WorkerEnd:
        worker = WorkerEnd(self, len(self.workers) + 1)
        self.workers.append(worker)
        return worker

    def worker(self) -> WorkerEnd:
        """A worker that is ready."""
        self.ready()
        worker = self.fork()
        worker.ready()
        return worker

    def template_output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def close(self) -> None:
        self.control.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            for worker in self.workers:
                worker.close()
            self.log.close()


class WorkerEnd:
    """Our end of one worker."""

    #: How the template is asked for it.
    request = "fork"

    def __init__(self, gateway: Gateway, number: int, *more: int, **asked: Any) -> None:
        """`more` are descriptors that go with it; they are closed. `asked`: what it is asked with, besides."""
        self.gateway = gateway
        self.main, main = socket.socketpair()
        self.side, side = socket.socketpair()
        self.main.settimeout(PATIENCE)
        journal = os.memfd_create("journal")
        os.ftruncate(journal, JOURNAL_SIZE)
        self.journal = mmap.mmap(journal, JOURNAL_SIZE)
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        passed = [main.detach(), side.detach(), journal, out, err, *more]
        socket.send_fds(
            gateway.control,
            [json.dumps({self.request: {"number": number, **asked} if asked else number}).encode()],
            passed,
        )
        for descriptor in passed:
            os.close(descriptor)
        self.pid = gateway.expect("forked")["pid"]
        self.decoder = Decoder()
        self.frames: deque[Frame] = deque()
        #: What calls have used so far, beside what ends them.
        self.used: list[Frame] = []
        self.last_call = 0

    def ready(self) -> dict[str, Any]:
        frame = self.frame()
        assert frame[0] == Kind.READY, (frame, self.errors())
        return json.loads(frame[6])

    def call(self, value: Any = None, **fields: Any) -> int:
        """Sends one call and returns its id."""
        return self.calls([value], **fields)[0]

    def calls(
        self,
        values: list[Any],
        *,
        export: int = 0,
        deadline: int = 0,
        meta: dict[str, Any] | None = None,
        flags: int = 0,
    ) -> list[int]:
        """Sends many calls with one write."""
        sent, data = [], b""
        for value in values:
            self.last_call += 1
            sent.append(self.last_call)
            said = json.dumps(meta).encode() if meta is not None else b""
            payload = value if isinstance(value, bytes) else json.dumps(value).encode()
            data += encode(Kind.CALL, flags, self.last_call, export, deadline, said, payload)
        self.main.sendall(data)
        return sent

    def aside(self, kind: Kind, call: int = 0, a: int = 0, meta: dict[str, Any] | None = None) -> None:
        said = json.dumps(meta).encode() if meta is not None else b""
        self.side.sendall(encode(kind, 0, call, a, meta=said))

    def frame(self) -> Frame:
        """The next frame from the worker."""
        while not self.frames:
            data = self.main.recv(1 << 20)
            assert data, f"the worker ended: {self.errors()}"
            self.decoder.feed(data, 0, self._sort)
        return self.frames.popleft()

    def _sort(self, frame: Frame) -> None:
        (self.used if frame[0] == Kind.USED else self.frames).append(frame)

    def rest(self) -> list[Frame]:
        """All frames up to the end of the stream, those of usage included."""
        while data := self._last():
            self.decoder.feed(data, 0, self._sort)
        return [*self.frames, *self.used]

    def _last(self) -> bytes:
        try:
            return self.main.recv(1 << 20)
        except ConnectionResetError:
            return b""

    def take(self, count: int) -> dict[int, Frame]:
        """That many endings, by call; each call ends once."""
        endings: dict[int, Frame] = {}
        for _ in range(count):
            frame = self.frame()
            assert frame[2] not in endings, "a call ended twice"
            endings[frame[2]] = frame
        return endings

    def result(self) -> Any:
        """The next frame, which must be a JSON result."""
        frame = self.frame()
        assert frame[0] == Kind.RESULT, frame
        return json.loads(frame[6])

    def error(self) -> dict[str, Any]:
        """The next frame, which must be an error."""
        frame = self.frame()
        assert frame[0] == Kind.ERROR, frame
        return json.loads(frame[6])

    def ask(self, value: Any = None, **fields: Any) -> Any:
        self.call(value, **fields)
        return self.result()

    def status(self) -> int:
        """Waits for the end and gives the exit code, negative for a signal."""
        message = self.gateway.expect("exited")
        assert message["exited"] == self.pid
        return os.waitstatus_to_exitcode(message["status"])

    def silent(self) -> bool:
        """Whether nothing more is to be read before the end of the stream."""
        if self.frames:
            return False
        try:
            return not self.main.recv(1)
        except ConnectionResetError:
            return True

    def silent_now(self) -> bool:
        """Whether nothing is to be read now."""
        return not self.frames and not select.select([self.main], [], [], 0)[0]

    def settle(self) -> None:
        """Waits until the worker has read everything from its side socket."""
        deadline = time.monotonic() + PATIENCE
        while _unread_by_peer(self.side):
            assert time.monotonic() < deadline, "the worker does not read its side socket"
            time.sleep(0.001)
        time.sleep(0.02)

    def journal_image(self) -> tuple[int, list[Frame]]:
        """`started`, and the frames that were finished but not written."""
        started, pending = struct.unpack_from("<QQ", self.journal)
        frames: list[Frame] = []
        Decoder().feed(self.journal[16 : 16 + pending], 0, frames.append)
        return started & ~RESTING, frames

    def wait_until_it_rests(self) -> None:
        """Until the worker says that it has nothing to do."""
        deadline = time.monotonic() + PATIENCE
        while not self.rests():
            assert time.monotonic() < deadline, "the worker does not say that it rests"
            time.sleep(0.001)

    def rests(self) -> bool:
        """Whether the worker says that it has nothing to do."""
        return bool(struct.unpack_from("<Q", self.journal)[0] & RESTING)

    def output(self) -> str:
        return _drain(self.out)

    def errors(self) -> str:
        return _drain(self.err)

    def wait_for_output(self, text: str) -> str:
        """Reads stdout until it contains this."""
        return _read_until(self.out, text)

    def wait_for_errors(self, text: str) -> str:
        return _read_until(self.err, text)

    def close(self) -> None:
        self.main.close()
        self.side.close()
        os.close(self.out)
        os.close(self.err)
        self.journal.close()


def beside(frame: Frame) -> dict[str, Any]:
    """What an answer says beside its payload, but for the memory that a call tells if the machine made it a long one."""
    told: dict[str, Any] = json.loads(frame[5] or b"{}")
    told.pop("peak_rss_kb", None)
    return told


def alive(pid: int) -> bool:
    """Whether the process runs; zombies of a template that has ended are reaped by init."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def wait_until_dead(pid: int) -> None:
    descriptor = None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def _unread_by_peer(end: socket.socket) -> int:
    """Bytes that we wrote and the other side has not read."""
    return struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, b"\0" * 4))[0]


def _drain(descriptor: int) -> str:
    text = b""
    while select.select([descriptor], [], [], 0.05)[0]:
        data = os.read(descriptor, 65_536)
        if not data:
            break
        text += data
    return text.decode()


def _read_until(descriptor: int, text: str) -> str:
    found = b""
    deadline = time.monotonic() + PATIENCE
    while text.encode() not in found:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([descriptor], [], [], left)[0], f"{text!r} did not come: {found!r}"
        data = os.read(descriptor, 65_536)
        assert data, f"{text!r} did not come: {found!r}"
        found += data
    return found.decode()


__all__ = [
    "ECHO",
    "GATE",
    "PATIENCE",
    "Gateway",
    "Kind",
    "WorkerEnd",
    "alive",
    "encode",
    "export",
    "signal",
    "wait_until_dead",
]
