"""From a fresh fork of the template to a worker that serves.

Enters: the generation's `init` message, the descriptors of one worker and, if the template has imported them,
the handlers. Leaves: READY or FAILED on the main socket, then the serving loop; never returns.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import inspect
import json
import os
import signal
import socket
import sys
from typing import Any, Callable, NamedTuple, NoReturn, Protocol

from pixell_runtime import failures, runtime, spans, usage
from pixell_runtime.blocking import Blocking
from pixell_runtime.calls import Calls
from pixell_runtime.channel import Channel
from pixell_runtime.context import Identity
from pixell_runtime.frames import Kind
from pixell_runtime.handlers import Handler, LoadError, extend_path, load
from pixell_runtime.journal import Journal
from pixell_runtime.leaving import flush_output
from pixell_runtime.llm.watch import watch
from pixell_runtime.monitor import Monitor, Serving

#: par sends it to see where a worker hangs.
STACKS_SIGNAL = signal.SIGUSR2


class Descriptors(NamedTuple):
    """What comes with a fork request, in this order."""

    main: int
    side: int
    journal: int
    stdout: int
    stderr: int


class Worker(Serving, Protocol):
    """A mode of serving."""

    def run(self) -> NoReturn:
        """Serves calls until the main socket ends, and ends the process."""

    def wait_for(self, awaitable: Any) -> None:
        """Waits for something before the first call."""


def prepare(handlers: list[Handler]) -> None:
    """Imports what these handlers will need of us, so that it happens once, before the fork. Packages without
    async handlers do not pay for asyncio: 25 ms and 3 MB."""
    if _needs_loop(handlers):
        importlib.import_module("pixell_runtime.looping")


def become_worker(
    init: dict[str, Any], descriptors: Descriptors, handlers: list[Handler] | None, ready: dict[str, Any]
) -> NoReturn:
    """Serves until the end. `handlers` is None if they are to be imported here; `ready` is the template's."""
    Identity.package = init["package"]
    Identity.exports = tuple(export["id"] for export in init["exports"])
    channel, monitor = connect(descriptors)
    try:
        if handlers is None:
            gc.disable()
            extend_path(init["sys_path"], init["kits"])
            watch()
            handlers = load(init["exports"])
            gc.collect()
            gc.freeze()
        gc.enable()
        worker = _choose(handlers, channel)
        announce({handler.module: handler.id for handler in handlers}, worker.wait_for)
    except LoadError as error:
        fail(channel, error)
    said = {**ready, "pid": os.getpid(), "exports": [handler.describe() for handler in handlers]}
    channel.send(Kind.READY, 0, payload=json.dumps(said).encode())
    monitor.attach(worker)
    worker.run()


def connect(descriptors: Descriptors, *others: socket.socket) -> tuple[Channel, Monitor]:
    """Makes a process of its own out of a copy of the template, that listens to its side socket from now on.
    `others` are sockets that processes of its handlers must not hold."""
    _settle_in(descriptors)
    main = socket.socket(fileno=descriptors.main)
    side = socket.socket(fileno=descriptors.side)
    journal = Journal(descriptors.journal)
    os.close(descriptors.journal)
    channel = Channel(main, journal, (side, *others))
    usage.bind(channel)
    spans.bind(channel)
    calls = Calls(channel)
    runtime.bind(calls)
    monitor = Monitor(side, calls)
    monitor.start()
    return channel, monitor


def announce(modules: dict[str, str], wait_for: Callable[[Any], Any]) -> None:
    """Runs `on_worker_start()` of every one of these modules, once. With each comes the export that a failure
    is told of."""
    for module, export in modules.items():
        hook = getattr(sys.modules.get(module), "on_worker_start", None)
        if hook is None:
            continue
        try:
            result = hook()
            if inspect.isawaitable(result):
                wait_for(result)
        except BaseException as error:
            raise LoadError("import", export, error) from error


def fail(channel: Channel, error: LoadError) -> NoReturn:
    """Tells why this process does not serve, and ends it."""
    said = failures.of_start(error.phase, error.export, error.error)
    channel.send(Kind.FAILED, 0, payload=json.dumps(said).encode())
    flush_output()
    os._exit(1)


def _settle_in(descriptors: Descriptors) -> None:
    os.dup2(descriptors.stdout, 1)
    os.dup2(descriptors.stderr, 2)
    os.close(descriptors.stdout)
    os.close(descriptors.stderr)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    faulthandler.enable(file=2, all_threads=True)
    faulthandler.register(STACKS_SIGNAL, file=2, all_threads=True, chain=False)
    # What the package has registered at import is the template's: it may remove what all workers share.
    atexit._clear()


def _needs_loop(handlers: list[Handler]) -> bool:
    return any(handler.lane == "async" or handler.threads > 1 for handler in handlers)


def _choose(handlers: list[Handler], channel: Channel) -> Worker:
    if not _needs_loop(handlers):
        return Blocking(handlers, channel)
    from pixell_runtime.looping import Looping, new_loop

    return Looping(handlers, channel, new_loop())
