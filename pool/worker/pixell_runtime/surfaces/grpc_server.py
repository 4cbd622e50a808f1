"""The gRPC server of a package's own services, on an abstract Unix socket that only the gateway is told of.

Enters: the servers and servicers of a `Service`. Leaves: a server that listens, the names of its services and
the descriptors of their messages. No byte of a call passes through code of ours.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import secrets
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, Callable

from pixell_runtime.failures import message_of
from pixell_runtime.results import type_name
from pixell_runtime.surfaces.actions import THREADS
from pixell_runtime.surfaces.service import OURS_TO_BIND, PortBound, Service
from pixell_runtime.surfaces.servicer import AGENT_SERVICE, Registration

#: Of messages in both directions. gRPC's own limit is 4 MB; the gateway lets 16 pass.
MAX_MESSAGE = 16 * 1024 * 1024

#: Bytes of a call's metadata: tokens are longer than the 8 KiB that gRPC allows.
_MAX_METADATA = 64 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", _MAX_METADATA),
    # The gateway's pings measure; they are no attack.
    ("grpc.http2.max_ping_strikes", 0),
)

#: What an HTTP/2 client begins with: the magic words, and settings without a change.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"

#: A server that serves answers within a millisecond; a busy machine may need much longer.
_ANSWER_SECONDS = 5.0

#: How far below a server its handlers are looked for: it, its state and their list, each with a dictionary of
#: attributes in between on Pythons before 3.11.
_DEPTH = 6


class GrpcServer:
    """One per primary whose package has services of its own."""

    def __init__(self, service: Service) -> None:
        """Must be made on the loop that serves."""
        if len(service.servers) > 1:
            raise ValueError(f"{len(service.servers)} gRPC servers were returned: one can be served")
        #: The name of the abstract socket, without its leading zero.
        self.name = f"par-{secrets.token_hex(16)}"
        self._stopping = False
        self._server = service.servers[0] if service.servers else _make()
        added = _register(self._server, service)
        handlers = {str(handler.service_name()): handler for handler in _handlers_of(self._server)}
        #: The servicer of the gateway's own service, if the package has put one on its server.
        self.agent = _servicer_in(handlers.pop(AGENT_SERVICE, None))
        self.services = list(dict.fromkeys([*handlers, *added]))

    async def start(self, lost: Callable[[BaseException], None]) -> None:
        """Binds and serves. `lost` is told if the server ends by itself."""
        try:
            self._server.add_insecure_port(f"unix-abstract:{self.name}")
            started = self._server.start()
            if inspect.isawaitable(started):
                await started
        except Exception as error:
            # Both kinds of server refuse when they have been started already, in different words.
            raise PortBound(f"{message_of(error) or type_name(type(error))}: {OURS_TO_BIND}") from error
        if not await _answers(self.name):
            raise PortBound(f"it has been started already: {OURS_TO_BIND}")
        self._watch(lost)

    async def stop(self, grace: float) -> None:
        """Lets calls end for that many seconds, then ends them."""
        self._stopping = True
        stopped = self._server.stop(grace)
        if inspect.isawaitable(stopped):
            await stopped
        else:
            await asyncio.get_running_loop().run_in_executor(None, stopped.wait)

    def descriptors(self) -> list[str]:
        """Every file of the services' definitions, what it imports included and ahead of it, as base64 of
        `FileDescriptorProto`."""
        try:
            from google.protobuf import descriptor_pool
        except ImportError:
            return []
        pool = descriptor_pool.Default()
        files: dict[str, Any] = {}
        for service in self.services:
            try:
                _collect(pool.FindServiceByName(service).file, files)
            except KeyError:
                # Defined without protobuf: it can be called, but nobody can be told how.
                continue
        return [base64.b64encode(file.serialized_pb).decode() for file in files.values()]

    def _watch(self, lost: Callable[[BaseException], None]) -> None:
        loop = asyncio.get_running_loop()
        wait = self._server.wait_for_termination

        def ended() -> None:
            if not self._stopping:
                lost(RuntimeError("the package has stopped its gRPC server"))

        def wait_on_thread() -> None:
            wait()
            loop.call_soon_threadsafe(ended)

        if inspect.iscoroutinefunction(wait):
            asyncio.ensure_future(wait()).add_done_callback(lambda _: ended())
        else:
            threading.Thread(target=wait_on_thread, name="pixell-grpc", daemon=True).start()


async def _answers(name: str) -> bool:
    """Whether HTTP/2 is spoken there. A server that had been started before takes a new address, and ignores
    it."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        await loop.sock_connect(probe, f"\0{name}")
        await loop.sock_sendall(probe, _PREFACE)
        try:
            return bool(await asyncio.wait_for(loop.sock_recv(probe, 9), _ANSWER_SECONDS))
        except asyncio.TimeoutError:
            return False


def _make() -> Any:
    try:
        from grpc import aio
    except ImportError as error:
        raise ImportError(f"this gRPC service needs grpcio, which cannot be imported: {error}") from error
    return aio.server(migration_thread_pool=ThreadPoolExecutor(THREADS), options=_OPTIONS)


def _register(server: Any, service: Service) -> list[str]:
    listener = _Listener(server)
    for registration in service.registrations:
        _add(registration, listener)
    return listener.services


def _add(registration: Registration, listener: _Listener) -> None:
    registration.add(registration.servicer, listener)


class _Listener:
    """A server, as far as generated code uses it, that hears the names of what is added."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self.services += [handler.service_name() for handler in handlers if hasattr(handler, "service_name")]
        self._server.add_generic_rpc_handlers(handlers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


def _handlers_of(server: Any) -> list[Any]:
    """The handlers of a server that the package has filled, one a service. It does not tell them, but it
    refers to them."""
    found: list[Any] = []
    level, seen = [server], {id(server)}
    for _ in range(_DEPTH):
        following = []
        for one in gc.get_referents(*level):
            if id(one) in seen or inspect.ismodule(one) or inspect.isclass(one) or inspect.isroutine(one):
                continue
            seen.add(id(one))
            if callable(getattr(one, "service_name", None)):
                found.append(one)
            elif isinstance(one, (list, tuple, dict)) or type(one).__module__.partition(".")[0] == "grpc":
                following.append(one)
        if not following:
            break
        level = following
    return found


def _servicer_in(handler: Any) -> Any:
    """The object whose `Invoke` a handler of the agent service calls."""
    if handler is None:
        return None
    method = handler.service(SimpleNamespace(method=f"/{AGENT_SERVICE}/Invoke", invocation_metadata=()))
    return getattr(getattr(method, "unary_unary", None), "__self__", None)


def _collect(file: Any, files: dict[str, Any]) -> None:
    if file.name in files:
        return
    for other in file.dependencies:
        _collect(other, files)
    files[file.name] = file
