"""The control socket between `par` and a template: one JSON object per datagram.

Enters: datagrams, some with descriptors. Leaves: parsed messages, and datagrams.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any, NamedTuple

#: Longer than the default buffer of a Unix socket, so no datagram is cut.
_DATAGRAM = 262_144

_DESCRIPTORS = 6


class Message(NamedTuple):
    """One datagram: its only key, what stands under it, and the descriptors that came with it."""

    name: str
    body: Any
    descriptors: list[int]


class Control:
    """The template's end."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self.descriptor = descriptor

    def receive(self) -> Message | None:
        """Blocks for one message. None at the end of the stream; `ValueError` for what is no message."""
        data, descriptors, _, _ = socket.recv_fds(
            self._socket, _DATAGRAM, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return None
        message = json.loads(data)
        if not isinstance(message, dict) or not message:
            raise ValueError("a control message must be an object with one member")
        name, body = next(iter(message.items()))
        return Message(name, body, list(descriptors))

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message."""
        self._socket.send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))

    def close(self) -> None:
        """For a worker: only the template may hold this end."""
        self._socket.close()


def close_all(descriptors: list[int]) -> None:
    """Closes what was passed to us and now belongs to a worker."""
    for descriptor in descriptors:
        os.close(descriptor)
