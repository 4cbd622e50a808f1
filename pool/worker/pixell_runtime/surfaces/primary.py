"""From a fresh fork of the template to the process that serves a generation's surfaces.

Enters: the generation's `init` message and the descriptors of one primary. Leaves: READY or FAILED on the
main socket, then HTTP on connections from the door, gRPC on a socket of its own and actions on the main
socket, all on one loop; never returns.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import traceback
from typing import Any, NoReturn

from pixell_runtime.channel import EXIT_BROKEN, Channel
from pixell_runtime.context import Identity
from pixell_runtime.frames import Kind
from pixell_runtime.handlers import Handler, LoadError, extend_path
from pixell_runtime.leaving import leave
from pixell_runtime.llm.watch import watch
from pixell_runtime.looping import Looping, new_loop
from pixell_runtime.surfaces import declared as declarations
from pixell_runtime.surfaces import entry, http_server, service
from pixell_runtime.surfaces.actions import to_handler, to_handlers
from pixell_runtime.surfaces.declared import Declared
from pixell_runtime.surfaces.grpc_server import GrpcServer
from pixell_runtime.surfaces.http_server import HttpServer
from pixell_runtime.surfaces.lifespan import Lifespan
from pixell_runtime.surfaces.prefix import Prefixed
from pixell_runtime.surfaces.servicer import caller_of
from pixell_runtime.worker import Descriptors, announce, connect, fail

#: An action of this name takes all names.
_EVERY = "*"

#: How long calls that run may take when the primary ends. The gateway has let them end before it asks, and waits
#: twice as long in all: twice as much here would leave the application no time to shut down.
_GRACE_SECONDS = 1.0


class Surfaces:
    """What one primary serves."""

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._http: HttpServer | None = None
        self._lifespan: Lifespan | None = None
        self._grpc: GrpcServer | None = None
        # The loop itself holds its tasks only weakly.
        self._arriving: set[asyncio.Task[None]] = set()
        self.handlers: list[Handler] = []
        #: For READY.
        self.facts: dict[str, Any] = {"rest": None, "a2a": None}

    def open(self, declared: list[Declared]) -> None:
        """Starts all of them, or raises a `LoadError` that names the one that does not start."""
        by_name = {one.name: one for one in declared}
        rest, a2a = by_name.get("rest"), by_name.get("a2a")
        found = service.Service()
        if a2a is not None:
            with _named("a2a"):
                found = service.find(a2a, self._loop)
                if self._loop.is_running():
                    # A service function that serves forever has taken it along.
                    self._loop = new_loop()
                    asyncio.set_event_loop(self._loop)
                self._loop.run_until_complete(self._open_grpc(a2a, found))
        with _named("rest" if rest is not None else "a2a"):
            self._loop.run_until_complete(self._open_http(rest, found))

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves."""
        return self._loop

    def listen(self, door: socket.socket) -> None:
        """Takes connections that come through the door."""
        self._loop.add_reader(door.fileno(), self._admit, door)

    async def close(self) -> None:
        """Lets what runs end, then shuts the application down."""
        servers = [server for server in (self._grpc, self._http) if server is not None]
        await asyncio.gather(*(server.stop(_GRACE_SECONDS) for server in servers))
        if self._lifespan is not None:
            await self._lifespan.stop()

    async def _open_grpc(self, declared: Declared, found: service.Service) -> None:
        servicer = found.servicer
        facts: dict[str, Any] = {"services": [], "socket": None, "descriptors": []}
        if found.servers or found.registrations:
            self._grpc = GrpcServer(found)
            await self._grpc.start(self._lost)
            facts["services"] = self._grpc.services
            facts["socket"] = self._grpc.name
            facts["descriptors"] = self._grpc.descriptors()
            servicer = servicer or self._grpc.agent
        self.handlers = to_handlers(found.actions, declared.module)
        if servicer is not None:
            self.handlers.append(to_handler(_EVERY, caller_of(servicer), declared.module))
        facts["actions"] = [handler.id for handler in self.handlers]
        self.facts["a2a"] = facts

    async def _open_http(self, declared: Declared | None, found: service.Service) -> None:
        entered = found.application if declared is None else await entry.enter(declared)
        # Handlers are served by gRPC already: over HTTP too, if something is there that can.
        if entered is None or (
            declared is None and entered.kind == "handlers" and not http_server.available()
        ):
            return
        application = Prefixed(entered.application)
        self._lifespan = Lifespan(application)
        await self._lifespan.start(self._lost)
        self._http = HttpServer(application, self._lifespan.state)
        self.facts["rest"] = {"kind": entered.kind}

    def _admit(self, door: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                door, 16, 1, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
        if not data:
            # par is gone.
            leave(self._channel, 0)
        for descriptor in descriptors:
            if self._http is None:
                os.close(descriptor)
            else:
                task = self._loop.create_task(self._serve(self._http, socket.socket(fileno=descriptor)))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)

    async def _serve(self, http: HttpServer, connection: socket.socket) -> None:
        try:
            await http.serve(connection)
        except OSError:
            # The gateway has closed it already.
            connection.close()

    def _lost(self, error: BaseException) -> NoReturn:
        """A surface has failed for good: the process ends, so that another takes its place."""
        traceback.print_exception(type(error), error, error.__traceback__)
        leave(self._channel, EXIT_BROKEN)


class _named:
    """Failures of the package's code inside belong to this surface."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            raise LoadError("surface", self._name, error) from error


def become_primary(
    init: dict[str, Any], descriptors: list[int], declared: list[Declared] | None, ready: dict[str, Any]
) -> NoReturn:
    """Serves until the end. `declared` is None if the entries are to be imported here; `ready` is the
    template's."""
    Identity.package = init["package"]
    door = socket.socket(fileno=descriptors[-1])
    channel, monitor = connect(Descriptors(*descriptors[:-1]), door)
    loop = new_loop()
    # Before the imports: servers that are made while they run belong to it.
    asyncio.set_event_loop(loop)
    surfaces = Surfaces(channel, loop)
    try:
        if declared is None:
            extend_path(init["sys_path"], init["kits"])
            watch()
            declared = declarations.load(init.get("surfaces"))
        gc.enable()
        announce({one.module: one.name for one in declared}, loop.run_until_complete)
        surfaces.open(declared)
    except LoadError as error:
        fail(channel, error)
    worker = Looping(surfaces.handlers, channel, surfaces.loop, surfaces.close)
    said = {**ready, "pid": os.getpid(), "exports": [], "surfaces": surfaces.facts}
    channel.send(Kind.READY, 0, payload=json.dumps(said).encode())
    surfaces.listen(door)
    monitor.attach(worker)
    worker.run()
