"""A package's own gRPC services: real grpcio on both sides, over the socket that READY names."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import AGENTS
from environments import environment

from pixell_runtime.frames import Kind

CLIENT = Path(__file__).with_name("grpc_client.py")
OWN = AGENTS / "grpc-own"

# The servicer of the example package, returned in other ways than by its own `create_server`.
SERVICER = "import server, own_pb2_grpc, grpc\n"


def called(started, packages="new"):
    """What a client hears from every method."""
    a2a = started.surfaces()["a2a"]
    assert a2a["services"] == ["example.own.Own"] and a2a["actions"] == []
    command = [environment(packages).python, str(CLIENT), a2a["socket"], str(OWN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + started.errors()
    return json.loads(done.stdout)


def expected(pid):
    return {
        "unary": "You said: hi",
        "count": [0, 1, 2],
        "sum": 6,
        "chat": ["ONE", "TWO"],
        "failure": ["FAILED_PRECONDITION", "not now", "because"],
        "metadata": {"x-one": list(b"1"), "x-bin": [0, 255]},
        "deadline": True,
        "pid": pid,
        "initial": "first",
        "trailing": ["last", [0, 255]],
        "cancelled": True,
        "large": True,
    }


@pytest.mark.parametrize("packages", ["new", "old"])
def test_a_server_that_was_returned_unstarted_serves_every_kind_of_method(primary, packages):
    started = primary(agent="grpc-own", a2a="server:create_server", packages=packages)
    assert called(started, packages) == expected(started.pid)


@pytest.mark.parametrize("packages", ["new", "old"])
def test_a_servicer_is_added_to_a_server_of_ours(primary, packages):
    source = SERVICER + "def service():\n    return [server.Own()]\n"
    started = primary(source, agent="grpc-own", a2a="main:service", packages=packages)
    assert called(started, packages) == expected(started.pid)


def test_an_async_function_may_make_the_server(primary):
    source = SERVICER + "async def service():\n    return server.create_server()\n"
    started = primary(source, agent="grpc-own", a2a="main:service")
    assert called(started) == expected(started.pid)


def test_a_server_that_is_made_at_import_is_served_by_a_primary_that_imports_for_itself(primary):
    source = SERVICER + "service = server.create_server()\n"
    started = primary(source, agent="grpc-own", a2a="main:service", preload=False)
    assert called(started) == expected(started.pid)


# Attributes of objects are in dictionaries of their own before Python 3.11, and later when somebody looks.
LOOKED_AT = "    vars(made), vars(made._state)\n"


@pytest.mark.parametrize("look", ["", LOOKED_AT])
def test_a_threaded_server_is_served_too(primary, look):
    source = (
        "import own_pb2, own_pb2_grpc, grpc\nfrom concurrent import futures\n"
        "class Own(own_pb2_grpc.OwnServicer):\n"
        "    def Say(self, request, context):\n        return own_pb2.Text(text=request.text)\n"
        "def service():\n    made = grpc.server(futures.ThreadPoolExecutor(2))\n"
        f"    own_pb2_grpc.add_OwnServicer_to_server(Own(), made)\n{look}    return made\n"
    )
    started = primary(source, agent="grpc-own", a2a="main:service")
    a2a = started.surfaces()["a2a"]
    assert a2a["services"] == ["example.own.Own"] and a2a["descriptors"]
    program = (
        f"import sys, grpc; sys.path.insert(0, {str(OWN)!r}); import own_pb2, own_pb2_grpc\n"
        f"channel = grpc.insecure_channel('unix-abstract:{a2a['socket']}')\n"
        "print(own_pb2_grpc.OwnStub(channel).Say(own_pb2.Text(text='hi')).text)\n"
    )
    command = [environment("new").python, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "hi\n"
    started.aside(Kind.STOP)
    assert started.status() == 0


@pytest.mark.parametrize("packages", ["new", "old"])
def test_descriptors_tell_everything_that_the_services_need(primary, packages):
    source = (
        "from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2\n"
        "file = descriptor_pb2.FileDescriptorProto(name='clock.proto', package='example')\n"
        "file.dependency.append('google/protobuf/timestamp.proto')\n"
        "method = file.service.add(name='Clock').method.add(name='Now')\n"
        "method.input_type = method.output_type = '.google.protobuf.Timestamp'\n"
        "descriptor_pool.Default().AddSerializedFile(file.SerializeToString())\n"
        "import grpc\nclass ClockServicer:\n"
        "    async def Now(self, request, context):\n        return request\n"
        "def add_ClockServicer_to_server(servicer, server):\n"
        "    handlers = {'Now': grpc.unary_unary_rpc_method_handler(servicer.Now)}\n"
        "    added = grpc.method_handlers_generic_handler('example.Clock', handlers)\n"
        "    server.add_generic_rpc_handlers((added,))\n"
        "def service():\n    return ClockServicer()\n"
    )
    a2a = primary(source, a2a="main:service", packages=packages).surfaces()["a2a"]
    assert a2a["services"] == ["example.Clock"]
    program = (
        "import base64, sys; from google.protobuf import descriptor_pb2 as d\n"
        "for one in sys.argv[1:]: print(d.FileDescriptorProto.FromString(base64.b64decode(one)).name)\n"
    )
    command = [environment(packages).python, "-c", program, *a2a["descriptors"]]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.split() == ["google/protobuf/timestamp.proto", "clock.proto"]


def test_a_service_without_descriptors_is_served_all_the_same(primary):
    source = (
        "import grpc\nclass RawServicer:\n"
        "    async def Say(self, request, context):\n        return request\n"
        "def add_RawServicer_to_server(servicer, server):\n"
        "    handlers = {'Say': grpc.unary_unary_rpc_method_handler(servicer.Say)}\n"
        "    added = grpc.method_handlers_generic_handler('raw.Raw', handlers)\n"
        "    server.add_generic_rpc_handlers((added,))\n"
        "def service():\n    return RawServicer()\n"
    )
    a2a = primary(source, a2a="main:service").surfaces()["a2a"]
    assert (a2a["services"], a2a["descriptors"]) == (["raw.Raw"], []) and a2a["socket"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    made.add_insecure_port('127.0.0.1:0')\n    return made\n", ["has bound 127.0.0.1:"]),
        ("    await made.start()\n    return made\n", []),
        ("    return [made, grpc.aio.server()]\n", ["2 gRPC servers"]),
    ],
)
def test_a_server_that_is_not_ours_to_start_is_refused(primary, body, words):
    source = SERVICER + f"async def service():\n    made = server.create_server()\n{body}"
    failed = primary(source, agent="grpc-own", a2a="main:service").failed()
    assert (failed["phase"], failed["export"]) == ("surface", "a2a")
    for word in words or ["the runtime binds ports"]:
        assert word in failed["message"]


@pytest.mark.parametrize(
    "bind",
    [
        "server.create_server().add_insecure_port('127.0.0.1:%d' % taken.getsockname()[1])",
        "socket.socket().bind(taken.getsockname())",
    ],
)
def test_a_port_that_cannot_be_bound_is_explained(primary, bind):
    source = (
        SERVICER + "import socket\ntaken = socket.socket(); taken.bind(('127.0.0.1', 0))\n"
        f"def service():\n    {bind}\n"
    )
    failed = primary(source, agent="grpc-own", a2a="main:service").failed()
    assert (failed["phase"], failed["export"]) == ("surface", "a2a")
    assert "return the server unstarted" in failed["message"]


def test_a_server_that_the_package_stops_ends_the_process(primary):
    source = (
        SERVICER + "import asyncio\nmade = []\nasync def stop():\n"
        "    await asyncio.sleep(0.2)\n    await made[0].stop(None)\n"
        "async def service():\n    made.append(server.create_server())\n"
        "    made.append(asyncio.ensure_future(stop()))\n    return made[0]\n"
    )
    started = primary(source, agent="grpc-own", a2a="main:service")
    started.surfaces()
    assert started.status() == 70 and "stopped its gRPC server" in started.errors()


def test_stop_ends_a_call_that_does_not_end(primary):
    started = primary(agent="grpc-own", a2a="server:create_server")
    name = started.surfaces()["a2a"]["socket"]
    program = (
        f"import sys, grpc; sys.path.insert(0, {str(OWN)!r}); import own_pb2, own_pb2_grpc\n"
        f"channel = grpc.insecure_channel('unix-abstract:{name}')\n"
        "for one in own_pb2_grpc.OwnStub(channel).Hold(own_pb2.Text(text='x')): print(one.text, flush=True)\n"
    )
    client = subprocess.Popen(
        [environment("new").python, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with client:
        assert client.stdout is not None and client.stdout.readline() == b"held\n"
        started.aside(Kind.STOP)
        assert started.status() == 0 and client.wait(10) != 0
