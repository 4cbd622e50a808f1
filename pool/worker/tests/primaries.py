"""The far end of a primary: what `par` does with its door, its gRPC socket and its main socket.

Enters: a template that was started with surfaces. Leaves: what the surfaces answer.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
from typing import Any

from gateway import PATIENCE, Gateway, WorkerEnd

from pixell_runtime.frames import Kind


class PrimaryEnd(WorkerEnd):
    """Our end of one primary."""

    request = "primary"

    def __init__(self, gateway: Gateway) -> None:
        self.door, door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gateway.workers.append(self)
        super().__init__(gateway, len(gateway.workers), door.detach())

    def surfaces(self) -> dict[str, Any]:
        """What it says of itself when it is ready."""
        return self.ready()["surfaces"]

    def failed(self) -> dict[str, Any]:
        """Why it is not."""
        frame = self.frame()
        assert frame[0] == Kind.FAILED, frame
        return json.loads(frame[6])

    def connection(self) -> socket.socket:
        """A connection to the REST surface."""
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        socket.send_fds(self.door, [b"r"], [theirs.fileno()])
        theirs.close()
        return ours

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """One request on a connection of its own. Underscores in names of headers become dashes."""
        connection = http.client.HTTPConnection("agent.example")
        connection.sock = self.connection()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        answer = connection.getresponse()
        with connection.sock:
            return Response(answer.status, answer.headers, answer.read())

    def get(self, path: str, **headers: str) -> Any:
        """The JSON at a path."""
        answer = self.http("GET", path, **headers)
        assert answer.status == 200, (answer.status, answer.body, self.errors())
        return answer.json()

    def rpc(self, value: Any, path: str = "/", **headers: str) -> Any:
        """The JSON answer to a JSON body."""
        answer = self.http("POST", path, json.dumps(value), content_type="application/json", **headers)
        assert answer.status == 200, answer
        return answer.json()

    def act(self, number: int, parameters: Any) -> Any:
        """The result of an action."""
        return self.ask(parameters, export=number)

    def close(self) -> None:
        super().close()
        self.door.close()


class Response:
    """A whole answer."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self.headers.items()} {self.body!r}"


class WebSocket:
    """A client by hand: masked frames, short messages."""

    def __init__(self, connection: socket.socket, path: str, **headers: str) -> None:
        self._connection = connection
        key = base64.b64encode(os.urandom(16)).decode()
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: agent.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{named}\r\n".encode()
        )
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = http.client.parse_headers(self._file)

    def send(self, text: str) -> None:
        """A text message."""
        self._send(1, text.encode())

    def receive(self) -> tuple[int, bytes]:
        """The next frame: its kind (1 text, 2 bytes, 8 close) and its content."""
        kind, size = self._file.read(2)
        if size == 126:
            (size,) = struct.unpack(">H", self._file.read(2))
        return kind & 15, self._file.read(size)

    def rest(self) -> bytes:
        """Everything to the end of the connection."""
        return self._file.read()

    def _send(self, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self._connection.sendall(bytes([128 | kind, 128 | len(data)]) + mask + masked)
