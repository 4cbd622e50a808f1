"""Calls to agents from outside of the host: `pixell_runtime.connect()`.

Enters: a place (the local socket of a `par` on this machine, or an address) and calls. Leaves: results, streams,
files, typed errors. A program that only uses this needs no `par` in its process, and workers, which are in the
same distribution, never import it.

    import pixell_runtime

    par = pixell_runtime.connect()
    par.call("hello", name="Ada")
"""

from __future__ import annotations

from pixell_runtime.client.connecting import Client, Session, connect
from pixell_runtime.client.download import Download
from pixell_runtime.client.errors import (
    AgentFailed,
    BadRequest,
    CallError,
    CallNotSent,
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    InputInvalid,
    InternalError,
    NotFound,
    PeerRefused,
    RateLimited,
    SessionEnded,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WorkerCrashed,
)
from pixell_runtime.client.stream import AsyncStream, Stream
from pixell_runtime.client.upload import Upload

__all__ = [
    "AgentFailed",
    "AsyncStream",
    "BadRequest",
    "CallError",
    "CallNotSent",
    "Client",
    "Conflict",
    "ConnectionLost",
    "DeadlineExceeded",
    "Download",
    "Forbidden",
    "InputInvalid",
    "InternalError",
    "NotFound",
    "PeerRefused",
    "RateLimited",
    "Session",
    "SessionEnded",
    "Stream",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Upload",
    "WorkerCrashed",
    "connect",
]
