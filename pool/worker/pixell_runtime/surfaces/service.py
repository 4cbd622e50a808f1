"""What a package's A2A service is, told by what its function returns.

Enters: the entry of the A2A surface. Leaves: a `Service`, with everything sorted by how it will be served.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import socket
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from pixell_runtime.failures import message_of
from pixell_runtime.results import type_name
from pixell_runtime.surfaces import entry
from pixell_runtime.surfaces.actions import Function, read_actions
from pixell_runtime.surfaces.declared import Declared
from pixell_runtime.surfaces.servicer import Registration, registration_of, takes_every_action

#: How long the function may take. Loading a model takes less as a rule, and what serves by itself never ends;
#: twice as much would be felt at every start of such a package.
PATIENCE_SECONDS = 5.0

#: What binding answers where it is forbidden or too late, and how gRPC says it.
_NOT_BOUND = (errno.EACCES, errno.EPERM, errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_NOT_BOUND_BY_GRPC = "Failed to bind to address"

#: How an address of version 4 looks to a socket of version 6.
_MAPPED = "::ffff:"

OURS_TO_BIND = "the runtime binds ports, not the package: return the server unstarted and without a port"


@dataclass
class Service:
    """What is to be served."""

    actions: dict[str, Function] = field(default_factory=dict)
    #: Has `Invoke` for every action, as generated code names it.
    servicer: Any = None
    #: gRPC servers that the package has made.
    servers: list[Any] = field(default_factory=list)
    #: Servicers of other services, each with the function that adds it to a server.
    registrations: list[Registration] = field(default_factory=list)
    #: An application that the function has returned instead of a service.
    application: entry.Entered | None = None


class PortBound(Exception):
    """The package has bound what the runtime binds."""


def find(declared: Declared, loop: asyncio.AbstractEventLoop) -> Service:
    """Calls the service function, once, and sorts what it returns. Raises what it raises."""
    value = declared.target
    if _is_function(value):
        before = set(_listening())
        try:
            value = _called(declared, loop)
        except Exception as error:
            if not _is_of_a_port(error):
                raise
            raise PortBound(f"{declared.entry}: {message_of(error)} ({OURS_TO_BIND})") from error
        bound = [address for address in _listening() if address not in before]
    else:
        bound = []
    service = Service()
    _sort(value, service, declared)
    if service.servers and bound:
        raise PortBound(f"{declared.entry} has bound {', '.join(bound)}: {OURS_TO_BIND}")
    return service


def is_server(value: Any) -> bool:
    """Whether it is a gRPC server, of either kind."""
    methods = ("add_insecure_port", "add_generic_rpc_handlers", "start", "stop")
    return all(callable(getattr(value, method, None)) for method in methods)


def _is_function(value: Any) -> bool:
    """Whether the entry has to be called for the service; else it stands there itself."""
    if inspect.isclass(value):
        return True
    there = is_server(value) or entry.is_material(value) or takes_every_action(value)
    return callable(value) and not there and registration_of(value) is None


def _called(declared: Declared, loop: asyncio.AbstractEventLoop) -> Any:
    """On a thread, because some service functions serve and never return. The loop does not run meanwhile, so
    a server that is made there belongs to it."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def call() -> None:
        asyncio.set_event_loop(loop)
        try:
            outcome.append(declared.target(**entry.port_of(declared.target)))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="pixell-service", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    if failure:
        raise failure[0]
    if not outcome:
        _warn(
            f"{declared.entry} has not returned within {PATIENCE_SECONDS:g} s: what it serves is not offered"
        )
        return None
    if not inspect.isawaitable(outcome[0]):
        return outcome[0]
    task = loop.create_task(_awaited(outcome[0]))
    loop.run_until_complete(asyncio.wait({task}, timeout=PATIENCE_SECONDS))
    if task.done():
        return task.result()
    _warn(f"{declared.entry} has not ended within {PATIENCE_SECONDS:g} s: what it serves is not offered")
    return None


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _sort(value: Any, service: Service, declared: Declared) -> None:
    if value is None:
        return
    if isinstance(value, (list, tuple)):
        for one in value:
            _sort(one, service, declared)
        return
    known = False
    if is_server(value):
        service.servers.append(value)
        return
    actions = read_actions(value)
    if actions is not None:
        known = True
        service.actions.update(actions.plain)
    if takes_every_action(value):
        known = True
        service.servicer = value
    else:
        registration = registration_of(value)
        if registration is not None:
            known = True
            service.registrations.append(registration)
    # A dictionary may be meant for either side; an object with handlers is meant for this one.
    if not known or isinstance(value, dict):
        service.application = service.application or entry.make(value)
        known = known or service.application is not None
    if not known:
        _warn(f"{declared.entry} returned a {type_name(type(value))}, which is no service: it is not offered")


def _is_of_a_port(error: Exception) -> bool:
    """Whether it says that a port could not be bound: gRPC's own words, or a socket's, which name no file."""
    if isinstance(error, OSError):
        return error.errno in _NOT_BOUND and error.filename is None
    return _NOT_BOUND_BY_GRPC in message_of(error)


def _listening() -> list[str]:
    """Addresses at which this process listens."""
    found = []
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return []
    for name in names:
        try:
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.append(_text(copy.getsockname()))
        except OSError:
            continue  # no socket, or the listing's own descriptor
    return found


def _text(address: Any) -> str:
    if isinstance(address, tuple):
        # gRPC binds addresses of both families at once.
        host = str(address[0])
        return f"{host[len(_MAPPED) :] if host.startswith(_MAPPED) else host}:{address[1]}"
    return address.decode("utf-8", "replace") if isinstance(address, bytes) else str(address)


def _warn(text: str) -> None:
    print(f"pixell_runtime: {text}", file=sys.stderr, flush=True)
