"""The process that imports a generation's code once and forks workers from itself.

Enters: `init`, `fork` and `primary` on the control socket. Leaves: `ready` or `failed`, `forked` and
`exited`, and workers. When the control socket ends, `par` is gone: the template ends its process group.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
import traceback
from typing import Any, NoReturn

from pixell_runtime import failures, fork_check
from pixell_runtime.batch import batch
from pixell_runtime.confinement import Confinement, move_to
from pixell_runtime.control import Control, Message, close_all
from pixell_runtime.handlers import Handler, LoadError, extend_path, load
from pixell_runtime.llm.watch import watch
from pixell_runtime.randomness import reseed
from pixell_runtime.surfaces import declared
from pixell_runtime.worker import Descriptors, become_worker, prepare

#: Exit code of a template that cannot understand `par`.
EXIT_BROKEN = 70

#: Signals that mean something to a template and nothing to its workers.
HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)

#: Messages that ask for a fork, and how many descriptors may come with each: a primary has a door besides, and a
#: worker of one session its own layer of the sandbox, if there is one.
_WORKER = len(Descriptors._fields)
_WANTED = {"fork": (_WORKER,), "alone": (_WORKER, _WORKER + 1), "primary": (_WORKER + 1,)}

#: For code that is imported before a fork. Thread pools of mathematics libraries would make forks unsafe, and
#: workers are processes already; gRPC's own fork support hangs more than it helps.
PRELOAD_ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Template:
    """One per generation. `control` is the descriptor of the control socket."""

    def __init__(self, control: int) -> None:
        self._control = Control(control)
        self._init: dict[str, Any] = {}
        self._ready: dict[str, Any] = {}
        self._handlers: list[Handler] | None = None
        self._declared: list[declared.Declared] | None = None
        self._confinement = Confinement(None, [])
        self._workers: set[int] = set()
        self._wakeup, self._wakeup_writer = os.pipe()

    def run(self) -> NoReturn:
        """Serves fork requests until the control socket ends."""
        self._take_signals()
        try:
            message = self._control.receive()
            if message is None:
                self._end()
            if message.name != "init":
                raise ValueError(f"the first message must be init, not {message.name}")
            self._confine(message)
            self._start(message.body)
            self._take_signals()  # again: an import may have taken them
            while True:
                self._wait()
        except (OSError, ValueError, KeyError, TypeError):
            # Said on stderr, which par reads into its log.
            traceback.print_exc()
            self._end(EXIT_BROKEN)

    def _take_signals(self) -> None:
        os.set_blocking(self._wakeup_writer, False)
        os.set_blocking(self._wakeup, False)
        # The pipe wakes `select`; the handlers themselves have nothing to do for a dead child.
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: self._end())
        # Ctrl-C in a terminal is for par, which then stops its workers in order. They inherit this.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _confine(self, message: Message) -> None:
        try:
            self._confinement = Confinement(message.body.get("sandbox"), message.descriptors)
            self._confinement.enter_template()
        except (OSError, RuntimeError) as error:
            self._fail(failures.of_start("sandbox", "", error))

    def _start(self, init: dict[str, Any]) -> None:
        self._init = init
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        began = time.monotonic()
        fork: dict[str, Any] = {"safe": True, "reason": None}
        if init["preload"]:
            with batch():
                self._import()
            fork_check.trial_fork()
            reason = fork_check.reasons_against(self._control.descriptor)
            fork = {"safe": reason is None, "reason": reason}
        self._ready = {
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "pid": os.getpid(),
            "import_seconds": round(time.monotonic() - began, 6),
            "fork": fork,
            "apart": self._confinement.apart,
            "exports": [handler.describe() for handler in self._handlers or ()],
        }
        self._control.send({"ready": self._ready})

    def _import(self) -> None:
        for name, value in PRELOAD_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        extend_path(self._init["sys_path"], self._init["kits"])
        watch()
        try:
            self._handlers = load(self._init["exports"])
            self._declared = declared.load(self._init.get("surfaces"))
        except LoadError as error:
            self._fail(failures.of_start(error.phase, error.export, error.error))
        prepare(self._handlers)
        declared.prepare(self._declared)
        reseed()
        # What is alive now stays: collections in the workers do not touch it, so its pages are shared.
        gc.collect()
        gc.freeze()

    def _fail(self, said: dict[str, Any]) -> NoReturn:
        self._control.send({"failed": said})
        self._flush()
        os._exit(1)

    def _wait(self) -> None:
        readable, _, _ = select.select([self._control.descriptor, self._wakeup], [], [])
        if self._wakeup in readable:
            self._clear_wakeup()
            self._reap()
        if self._control.descriptor in readable:
            message = self._control.receive()
            if message is None:
                self._end()
            self._obey(message)

    def _obey(self, message: Message) -> None:
        if len(message.descriptors) not in _WANTED.get(message.name, ()):
            raise ValueError(f"{message.name} with {len(message.descriptors)} descriptors is not expected")
        number = message.body["number"] if message.name == "alone" else message.body
        self._flush()
        # A signal between the fork and the child's first step would run our handlers there.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
            self._control.send({"fork_failed": number, "message": str(error)})
            close_all(message.descriptors)
            return
        if pid == 0:
            self._be_forked(message)
        self._workers.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
        close_all(message.descriptors)
        self._control.send({"forked": number, "pid": pid})
        # For the next one, which inherits it: nobody waits for it here, but for forks in a row.
        reseed()

    def _be_forked(self, message: Message) -> NoReturn:
        """Nothing of the template may go on in the child, whatever happens."""
        try:
            signal.set_wakeup_fd(-1)
            for number in HANDLED_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
            self._control.close()
            os.close(self._wakeup)
            os.close(self._wakeup_writer)
            descriptors = Descriptors(*message.descriptors[:_WORKER])
            if message.name == "alone":
                move_to(message.body["temporary"])
                self._confinement.enter_worker(*message.descriptors[_WORKER:])
            else:
                self._confinement.enter_worker()
            if message.name == "primary":
                # Packages without surfaces do not pay for these modules.
                from pixell_runtime.surfaces.primary import become_primary

                become_primary(self._init, message.descriptors, self._declared, self._ready)
            become_worker(self._init, descriptors, self._handlers, self._ready)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(EXIT_BROKEN)

    def _clear_wakeup(self) -> None:
        try:
            while os.read(self._wakeup, 512):
                pass
        except BlockingIOError:
            return

    def _reap(self) -> None:
        """Only our workers: a package may have started processes of its own, and waits for them itself."""
        for pid in tuple(self._workers):
            try:
                reaped, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                # Reaped by the package's own code.
                reaped, status = pid, 0
            if reaped:
                self._workers.discard(pid)
                self._control.send({"exited": pid, "status": status})

    def _flush(self) -> None:
        """What stands in the buffers would be written by every child again."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue

    def _end(self, code: int = 0) -> NoReturn:
        """Takes the whole process group along, if it is ours to end."""
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        os._exit(code)
