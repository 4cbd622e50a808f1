"""grpcio as a client of any service: calls from stdin as JSON, what came of each to stdout.

Messages are bytes in base64; nothing is known about them. `client.mjs` does the same with grpc-js.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc

LONGEST = 64 * 1024 * 1024


def encoded(metadata: Any) -> list[list[str]]:
    """Metadata with binary values in base64."""
    pairs = []
    for key, value in metadata or ():
        pairs.append([key, base64.b64encode(value).decode() if isinstance(value, bytes) else value])
    return pairs


def decoded(pairs: list[list[str]]) -> list[tuple[str, str | bytes]]:
    """The reverse."""
    return [(key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in pairs]


def answered(channel: grpc.Channel, call: dict[str, Any]) -> dict[str, Any]:
    """What came of one call."""
    requests = [base64.b64decode(request) for request in call["requests"]]
    options = {"metadata": decoded(call["metadata"]), "timeout": call["timeout"]}
    patience = call["pause"]
    begin = time.monotonic()
    times: list[float] = []
    responses: list[str] = []

    def slowly() -> Iterator[bytes]:
        for number, request in enumerate(requests):
            if number and patience:
                time.sleep(patience)
            yield request

    if call["kind"] == "unary":
        running = channel.unary_unary(call["path"], None, None).future(requests[0], **options)
    elif call["kind"] == "server":
        running = channel.unary_stream(call["path"], None, None)(requests[0], **options)
    elif call["kind"] == "client":
        running = channel.stream_unary(call["path"], None, None).future(slowly(), **options)
    else:
        running = channel.stream_stream(call["path"], None, None)(slowly(), **options)
    try:
        for response in [running.result()] if call["kind"] in ("unary", "client") else running:
            times.append(time.monotonic() - begin)
            responses.append(base64.b64encode(response).decode())
            if call["take"] is not None and len(responses) >= call["take"]:
                running.cancel()
    except grpc.RpcError:
        pass
    except grpc.FutureCancelledError:
        pass
    return {
        "code": running.code().value[0],
        "details": running.details() or "",
        "responses": responses,
        "times": times,
        "initial": encoded(running.initial_metadata()),
        "trailing": encoded(running.trailing_metadata()),
        "seconds": time.monotonic() - begin,
    }


def main() -> None:
    """Make the calls one after the other over one connection."""
    asked = json.load(sys.stdin)
    options = [("grpc.max_receive_message_length", LONGEST), ("grpc.max_send_message_length", LONGEST)]
    if asked["ca"] is None:
        channel = grpc.insecure_channel(asked["target"], options)
    else:
        channel = grpc.secure_channel(
            asked["target"], grpc.ssl_channel_credentials(asked["ca"].encode()), options
        )
    with channel:
        json.dump([answered(channel, call) for call in asked["calls"]], sys.stdout)


main()
