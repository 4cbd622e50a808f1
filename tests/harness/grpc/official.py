"""Clients that others made, against a running PAR: stubs generated from our .proto, health, reflection.

usage: official.py PROTO_DIRECTORY TARGET AGENT_ID SERVICE; prints what they found as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc


def generated(protos: str, directory: str) -> tuple[Any, Any]:
    """The modules that `protoc` makes of `pixell/agent.proto`."""
    outputs = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
    assert protoc.main(["protoc", f"-I{protos}", *outputs, "pixell/agent.proto"]) == 0
    sys.path.insert(0, directory)
    return importlib.import_module("pixell.agent_pb2"), importlib.import_module("pixell.agent_pb2_grpc")


def main() -> None:
    """Ask everything once."""
    protos, target, agent, service = sys.argv[1:]
    metadata = (("x-agent-id", agent),)
    found: dict[str, Any] = {}
    with grpc.insecure_channel(target) as channel, tempfile.TemporaryDirectory() as directory:
        messages, stubs = generated(protos, directory)
        stub = stubs.AgentServiceStub(channel)
        found["ping"] = stub.Ping(messages.Empty(), metadata=metadata).message
        found["healthy"] = stub.Health(messages.Empty(), metadata=metadata).ok
        told = stub.DescribeCapabilities(messages.Empty(), metadata=metadata)
        found["methods"] = list(told.methods)
        found["metadata"] = dict(told.metadata)
        request = messages.ActionRequest(action="invoke", parameters={"a": "1"}, request_id="mine")
        result = stub.Invoke(request, metadata=metadata)
        found["invoke"] = [result.success, result.result, result.request_id, dict(result.metadata)]
        health = health_pb2_grpc.HealthStub(channel)
        found["serving"] = health.Check(health_pb2.HealthCheckRequest()).status
        named = health.Check(health_pb2.HealthCheckRequest(service=service), metadata=metadata)
        found["service"] = named.status
        database = ProtoReflectionDescriptorDatabase(Named(channel, metadata))
        found["services"] = sorted(database.get_services())
        found["file"] = database.FindFileContainingSymbol(service).name
    json.dump(found, sys.stdout)


class Named:
    """A channel that names the agent in every stream."""

    def __init__(self, channel: grpc.Channel, metadata: Any) -> None:
        self.channel = channel
        self.metadata = metadata

    def stream_stream(self, path: str, *arguments: Any, **options: Any) -> Any:
        """Like the channel's own."""
        call = self.channel.stream_stream(path, *arguments, **options)
        return lambda requests, **more: call(requests, metadata=self.metadata, **more)


main()
