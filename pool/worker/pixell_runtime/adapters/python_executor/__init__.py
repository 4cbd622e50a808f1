"""Agents that execute Python: `execute`, `stream` and `analyze`.

Enters: code, and for `analyze` a table. Leaves: what it printed, showed and resulted in, as `call.py` and `stream.py`
say. Calls of a session share their globals; those without one run in a process of their own.

The template imports this before it forks, and with it the data packages that there are: workers find them loaded.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import time
from typing import Any, Callable

from pixell_runtime.adapters.python_executor import analyze as tables
from pixell_runtime.adapters.python_executor import request, space, work
from pixell_runtime.adapters.python_executor.apart import perform_apart
from pixell_runtime.adapters.python_executor.call import Said, Wire, Work, perform
from pixell_runtime.adapters.python_executor.run import python_version
from pixell_runtime.adapters.python_executor.stream import Streamed
from pixell_runtime.context import Context, Session, abandonment

__all__ = ["analyze", "execute", "stream"]

_NAME = "direct-python-executor"

#: What code of this kind begins with. Each is left out where it is not installed.
_PRELOADED = ("numpy", "pandas", "matplotlib.pyplot")

#: Around a deadline, which passes a little later here than in `par`, and after which a worker soon ends.
_ENDING_SECONDS = 1.0

#: What `list_capabilities` tells of a session's abilities.
_EXECUTION = ("sessions", "stdout", "stderr", "figures", "dataframes", "streaming")


def execute(request_: Any, context: Context) -> Said:
    """Executes `code` and answers when it has ended."""
    wanted = request.read(request_)
    if wanted.action != "execute":
        return _about(wanted.action, context)
    return _perform(functools.partial(work.execute, wanted.code), context, Wire(None, _left_early(context)))


def stream(request_: Any, context: Context) -> Streamed | Said:
    """Executes `code` and tells its output while it is printed."""
    wanted = request.read(request_)
    if wanted.action != "execute":
        return _about(wanted.action, context)
    begun = functools.partial(_perform, functools.partial(work.execute, wanted.code), context)
    return Streamed(begun, abandonment())


def analyze(request_: Any, context: Context) -> Said:
    """Analyses `data`, and executes `code` with it as `df`."""
    members = request.members_of(request_)
    operations, code = tables.operations_of(members), request.code_of(members)
    wanted = functools.partial(work.analyse, members.get("data"), operations, code)
    return _perform(wanted, context, Wire(None, _left_early(context)))


def _left_early(context: Context) -> Callable[[], bool]:
    """Whether the caller has left of its own accord. When its deadline passes, it leaves a worker that is about to be
    ended: code that were interrupted then would make room for a call that is lost with the worker."""
    has_left, deadline = abandonment(), context.deadline
    if deadline is None:
        return has_left
    begin, end = deadline - _ENDING_SECONDS, deadline + _ENDING_SECONDS
    return lambda: has_left() and not begin <= time.monotonic() < end


def _perform(wanted: Work, context: Context, wire: Wire) -> Said:
    session = _session_of(context)
    said = perform_apart(wanted, wire) if session is None else perform(wanted, space.of(session), wire)
    return {**said, "session_id": session.id if session else None}


def _session_of(context: Context) -> Session | None:
    """A session without a mode in the manifest is only a name: its calls have nothing in common."""
    return context.session if context.session is not None and context.session.kept else None


def _about(action: str, context: Context) -> Said:
    if action == "get_info":
        info = {
            "name": _NAME,
            "version": context.version,
            "description": "Executes Python and keeps its state by session.",
            "python_version": python_version(),
            "capabilities": list(_EXECUTION),
        }
        return {"status": "success", "info": info}
    # Of other sessions nobody is told.
    session = _session_of(context)
    own = [session.id] if session else []
    capabilities = {
        "execution": list(_EXECUTION),
        "packages": _packages(),
        "sessions": {"active": len(own), "session_ids": own},
    }
    return {"status": "success", "capabilities": capabilities}


def _packages() -> dict[str, str]:
    names = {name.partition(".")[0] for name in _PRELOADED}
    return {name: str(sys.modules[name].__version__) for name in sorted(names) if name in sys.modules}


def _preload() -> None:
    os.environ.setdefault("MPLBACKEND", f"module://{__name__}.figures")
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


_preload()
