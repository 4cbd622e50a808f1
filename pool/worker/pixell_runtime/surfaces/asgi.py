"""What an ASGI application is, told by its looks.

Enters: any object. Leaves: whether it is an application or a router, without calling it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any, Callable

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_PLAIN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_application(value: Any, promised: bool = False) -> bool:
    """Whether it is called with scope, receive and send. `promised`: whether the manifest says so; it decides
    where the signature does not."""
    if inspect.isclass(value) or not callable(value):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return promised
    plain = [one for one in parameters if one.kind in _PLAIN]
    needed = [one for one in plain if one.default is inspect.Parameter.empty]
    if len(plain) == 0 and any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return promised
    return len(needed) == 3


def is_router(value: Any) -> bool:
    """Whether it is FastAPI's `APIRouter`. One can be called like an application, but misses half of one."""
    return _is_a(value, "fastapi", "APIRouter")


def is_fastapi(value: Any) -> bool:
    """Whether it is a FastAPI application."""
    return _is_a(value, "fastapi", "FastAPI")


def _is_a(value: Any, package: str, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(value).__mro__
    )
