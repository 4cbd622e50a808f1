"""Exceptions as data.

Enters: an exception of an agent's code. Leaves: the JSON of an ERROR frame or of a `failed` message: type,
message and traceback, each bounded, without the runtime's own frames.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any

from pixell_runtime.results import type_name

#: A message is for a person; more than this is data that went astray.
MAX_MESSAGE = 8 * 1024

#: The end of a traceback names the cause; two hundred frames fit.
MAX_TRACEBACK = 32 * 1024

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def payload(kind: str, type_: str, message: str, **more: Any) -> bytes:
    """The payload of an ERROR frame."""
    said = {"kind": kind, "type": type_, "message": clip(message, MAX_MESSAGE), **more}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def of_agent(error: BaseException) -> bytes:
    """The payload for an exception that a handler has raised."""
    return payload("agent", type_name(type(error)), message_of(error), traceback=traceback_of(error))


def of_start(phase: str, export: str, error: BaseException) -> dict[str, Any]:
    """The body of a `failed` message."""
    return {
        "phase": phase,
        "export": export,
        "type": type_name(type(error)),
        "message": clip(message_of(error), MAX_MESSAGE),
        "traceback": traceback_of(error),
    }


def message_of(error: BaseException) -> str:
    """`str(error)`, which is code of the agent and may fail itself."""
    try:
        return str(error)
    except Exception as second:
        return f"<its text could not be made: {type_name(type(second))}>"


def traceback_of(error: BaseException) -> str:
    """The formatted traceback; of a long one, the end."""
    try:
        formatted = traceback.TracebackException.from_exception(error)
        _leave_out_ours(formatted, set())
        text = "".join(formatted.format())
    except Exception as second:
        return f"<no traceback: {type_name(type(second))}>"
    text = _clean(text)
    encoded = text.encode()
    if len(encoded) > MAX_TRACEBACK:
        text = "…\n" + encoded[-(MAX_TRACEBACK - 8) :].decode("utf-8", "ignore")
    return text


def clip(text: str, limit: int) -> str:
    """At most `limit` bytes of valid Unicode."""
    encoded = text.encode("utf-8", "replace")
    return encoded[:limit].decode("utf-8", "ignore")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _leave_out_ours(formatted: traceback.TracebackException, seen: set[int]) -> None:
    if id(formatted) in seen:
        return
    seen.add(id(formatted))
    kept = [frame for frame in formatted.stack if not frame.filename.startswith(_OURS)]
    formatted.stack = traceback.StackSummary.from_list(kept)
    for other in (
        formatted.__cause__,
        formatted.__context__,
        *(getattr(formatted, "exceptions", None) or ()),
    ):
        if other is not None:
            _leave_out_ours(other, seen)
