"""Calls of the Python executor in a real worker.

Enters: code and a session. Leaves: its answer.
"""

from __future__ import annotations

import zlib
from typing import Any

from gateway import WorkerEnd, export

_MODULE = "pixell_runtime.adapters.python_executor"
AGENTS = [export(name, module=_MODULE) for name in ("execute", "stream", "analyze")]
EXECUTE, STREAM, ANALYZE = range(3)


def session(ident: str | None) -> dict[str, Any]:
    """Metadata of a call in this session, or in none."""
    return {"session": {"id": ident, "key": zlib.crc32(ident.encode())}} if ident else {}


def run_in(worker: WorkerEnd, code: str, ident: str | None = "s", **more: Any) -> dict[str, Any]:
    """Executes code."""
    answer: dict[str, Any] = worker.ask({"code": code, **more}, meta=session(ident))
    return answer
