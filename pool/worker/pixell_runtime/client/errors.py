"""What a call can fail with: one class for each family of codes.

Enters: a problem document, or what happened to a connection. Leaves: an exception that says it.

| class | codes | may the call have run? |
|---|---|---|
| `CallNotSent`: `Unreachable`, `PeerRefused` | none | no |
| `ConnectionLost` | none | yes |
| `BadRequest` | 400, 405, 406, 408, 413, 414, 415, 416, 431 | no |
| `Unauthenticated`, `Forbidden`, `NotFound`, `Conflict` | 401, 403, 404, 409 | no |
| `SessionEnded` | `session_expired`, `session_lost` | no |
| `InputInvalid` | `input_invalid`, `package_invalid` | no |
| `RateLimited` | `rate_limited`, `quota_exceeded` | no |
| `AgentFailed`, `WorkerCrashed` | `agent_error`, `worker_crashed` | yes |
| `InternalError` | `internal`, and what is no answer of a `par` | yes |
| `Unavailable` | all of 503 | no |
| `DeadlineExceeded` | `deadline_exceeded` | yes |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pixell_runtime.errors import CallFailed

#: What is shown of an answer that is no problem document.
SHOWN = 200


class CallError(CallFailed):
    """A call that has no result. Beside what agents are told of calls to each other:"""

    def __init__(
        self,
        detail: str,
        *,
        code: str = "",
        status: int = 0,
        request_id: str = "",
        errors: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
        step: str | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail, error=error or {}, errors=errors or [], retry_after=retry_after)
        #: Status of HTTP; 0 if nobody has answered, and then there is no code either.
        self.status = status
        #: What names the call in the runtime's log.
        self.request_id = request_id
        #: Of `package_invalid`: how far the package came.
        self.step = step

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.code else self.detail


class CallNotSent(CallError):
    """Nothing was sent that could have begun anything."""


class Unreachable(CallNotSent):
    """Nobody answers at the place."""


class PeerRefused(CallNotSent):
    """The local socket belongs to somebody who is neither we nor root, or a certificate is none that is trusted."""


class ConnectionLost(CallError):
    """The connection broke between the call and the end of its answer: nobody knows whether it has run."""


class BadRequest(CallError):
    """The request cannot be answered as it is."""


class Unauthenticated(CallError):
    """A valid token is needed."""


class Forbidden(CallError):
    """The caller does not have the role."""


class NotFound(CallError):
    """There is no such agent, package or session, or not for this caller."""


class Conflict(CallError):
    """Something else is already there."""


class SessionEnded(CallError):
    """The session has expired or was lost. Told once; then its id begins anew."""


class InputInvalid(CallError):
    """The input does not fit what the agent takes: `errors` says where."""


class RateLimited(CallError):
    """The caller has had what it may have: `retry_after` says for how long."""


class AgentFailed(CallError):
    """The agent has raised an exception: `error` says which."""


class InternalError(CallError):
    """The runtime has failed, or what answered is none."""


class WorkerCrashed(CallError):
    """The agent's process has died under the call."""


class Unavailable(CallError):
    """The runtime cannot take the call now. It has not begun."""


class DeadlineExceeded(CallError):
    """There was no result in time."""


_BY_STATUS: dict[int, type[CallError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: SessionEnded,
    422: InputInvalid,
    429: RateLimited,
    500: InternalError,
    502: WorkerCrashed,
    503: Unavailable,
    504: DeadlineExceeded,
}


def family(status: int, code: str) -> type[CallError]:
    """The class of a code."""
    if code == "agent_error":
        return AgentFailed
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return BadRequest if 400 <= status < 500 else InternalError


def of_problem(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> CallError:
    """The error that a problem document tells of. What it lacks, the headers of its answer may have."""
    headers = headers or {}
    status, code = document.get("status"), document.get("code")
    status = status if isinstance(status, int) else 500
    code = code if isinstance(code, str) else ""
    errors, error = document.get("errors"), document.get("error")
    return family(status, code)(
        str(document.get("detail") or document.get("title") or f"status {status}"),
        code=code,
        status=status,
        request_id=str(document.get("request_id") or headers.get("x-request-id", "")),
        errors=errors if isinstance(errors, list) else None,
        retry_after=seconds(headers.get("retry-after")),
        step=document.get("step"),
        error=error if isinstance(error, dict) else None,
    )


def of_answer(status: int, headers: Mapping[str, str], body: bytes) -> CallError:
    """The error that an answer tells of, whoever has written it."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        text = body[:SHOWN].decode("utf-8", "replace").strip()
        document = {"detail": f"status {status}: {text}" if text else f"status {status}"}
    return of_problem({**document, "status": status}, headers)


def seconds(text: str | None) -> float | None:
    """`Retry-After` as a number; a date says nothing to a clock that may differ."""
    if text is None or not text.strip().isdigit():
        return None
    return float(text)
