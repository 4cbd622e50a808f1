"""The layers of the sandbox that a template and its workers enter by themselves."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import struct

import pytest
from conftest import AGENTS, named
from environments import environment
from gateway import ECHO, WorkerEnd
from primaries import PrimaryEnd

LIBC = ctypes.CDLL(None, use_errno=True)
LANDLOCK_CREATE_RULESET = 444
#: The kernel has signals and abstract sockets in Landlock.
SCOPES = 6
NO_NEW_PRIVS = 38
#: On x86_64.
EXECVE, EXECVEAT = 59, 322

KILL = """
import os
def run(pid):
    try:
        os.kill(pid, 0)
        return "reached"
    except PermissionError:
        return "refused"
"""

PROGRAMS = """
import subprocess
def run(value):
    try:
        return subprocess.run(["true"]).returncode
    except PermissionError:
        return "refused"
imported = run(None)
def at_import(value):
    return imported
"""


CONNECT = """
import socket
def run(name):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect("\\0" + name)
            return "reached"
        except PermissionError:
            return "refused"
"""


def domain() -> int:
    """A ruleset that scopes signals."""
    version = LIBC.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < SCOPES:
        pytest.skip(f"Landlock {version} of this kernel has no scopes")
    make_block, scopes = 1 << 11, 3
    attributes = struct.pack("QQQ", make_block, 0, scopes)
    layer = LIBC.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    assert layer >= 0
    return int(layer)


def refusing(*numbers: int) -> str:
    """A filter that answers these system calls with EPERM."""
    load, jump_if, leave, allow = 0x20, 0x15, 0x06, 0x7FFF0000
    program = [(load, 0, 0, 0)]
    for number in numbers:
        program += [(jump_if, 0, 1, number), (leave, 0, 0, 0x00050000 | errno.EPERM)]
    program.append((leave, 0, 0, allow))
    return b"".join(struct.pack("HBBI", *step) for step in program).hex()


@pytest.fixture(autouse=True)
def _unprivileged():
    """What a filter needs, and children inherit."""
    assert LIBC.prctl(NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0


def test_a_worker_signals_neither_its_template_nor_its_siblings(gateway):
    layer = domain()
    running = gateway(KILL, "run", sandbox={"template": None, "worker": None}, layer=layer)
    os.close(layer)
    assert running.ready()["apart"] is True
    one, two = running.fork(), running.fork()
    for worker in (one, two):
        worker.ready()
    assert one.ask(two.pid) == "refused" and two.ask(one.pid) == "refused"
    assert one.ask(running.process.pid) == "refused"
    assert one.ask(one.pid) == "reached"


def test_only_the_gateway_reaches_the_grpc_socket_of_a_primary(gateway):
    layer = domain()
    packages = environment("new")
    running = gateway(
        CONNECT,
        "run",
        sandbox={"template": None, "worker": None},
        layer=layer,
        surfaces={"rest": named("web:mount"), "a2a": named("server:create_server")},
        path=[str(AGENTS / "surfaces"), str(AGENTS / "grpc-own"), packages.site],
        python=packages.python,
    )
    os.close(layer)
    assert running.ready()["apart"] is True
    primary, worker = PrimaryEnd(running), running.fork()
    said = primary.surfaces()
    worker.ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + said["a2a"]["socket"])
    assert worker.ask(said["a2a"]["socket"]) == "refused"
    assert primary.get("/api/ping")["pid"] == primary.pid


def test_without_a_layer_workers_are_not_said_to_be_apart(gateway):
    assert gateway(ECHO, "run").ready()["apart"] is False


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls by number")
@pytest.mark.parametrize(("entered", "told"), [("template", ["refused"] * 2), ("worker", [0, "refused"])])
def test_programs_are_refused_from_where_it_is_wanted_and_the_template_forks_on(gateway, entered, told):
    sandbox = {"template": None, "worker": None, entered: refusing(EXECVE, EXECVEAT)}
    running = gateway(PROGRAMS, "at_import", "run", sandbox=sandbox)
    running.ready()
    worker = running.fork()
    worker.ready()
    assert [worker.ask(None, export=0), worker.ask(None, export=1)] == told


def test_a_filter_that_cannot_be_entered_ends_the_start(gateway):
    running = gateway(ECHO, "run", sandbox={"template": None, "worker": None})
    assert running.ready()["apart"] is False
    broken = gateway(ECHO, "run", sandbox={"template": "00" * 8, "worker": "00" * 8})
    failed = broken.expect("failed")["failed"]
    assert (failed["phase"], failed["type"]) == ("sandbox", "OSError")


class AloneEnd(WorkerEnd):
    """Our end of a worker of one session."""

    request = "alone"


PLACES = """
import os, tempfile
at_import = tempfile.gettempdir()
def run(value):
    return [at_import, tempfile.gettempdir(), os.environ["TMPDIR"], os.path.expanduser("~")]
"""


@pytest.mark.parametrize("with_layer", [True, False])
def test_a_worker_of_one_session_has_a_temporary_directory_of_its_own(gateway, tmp_path, with_layer):
    running = gateway(PLACES, "run", sandbox={"template": None, "worker": None})
    running.ready()
    more = [domain()] if with_layer else []
    alone = AloneEnd(running, 7, *more, temporary=str(tmp_path))
    running.workers.append(alone)
    alone.ready()
    at_import, *now = alone.ask(None)
    assert now == [str(tmp_path)] * 3 and at_import != str(tmp_path)


def test_a_worker_that_was_asked_for_in_a_wrong_way_ends_the_template(gateway):
    running = gateway(ECHO, "run")
    running.ready()
    running.send({"alone": {"number": 1, "temporary": "/tmp"}})
    assert running.process.wait(15) == -signal.SIGKILL, "it takes its group along"
    assert "descriptors" in running.template_output()
