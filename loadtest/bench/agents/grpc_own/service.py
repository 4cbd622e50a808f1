"""One unary method that returns what it is given. No generated code: the bytes are the message."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

SERVICE = "bench.Echo"
METHOD = "Say"


async def say(request: bytes, _context: Any) -> bytes:
    """Bytes in, bytes out."""
    return request


def make() -> Any:
    """The server, not started."""
    server = grpc.aio.server()
    handlers = {METHOD: grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return server


async def _alone(port: str) -> None:
    server = make()
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_alone(sys.argv[1]))
