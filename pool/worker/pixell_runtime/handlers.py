"""From the exports of a package to functions that can be called.

Enters: `init.exports`. Leaves: one `Handler` for each, or a `LoadError` that says which phase failed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from typing import Any, Callable, NamedTuple

from pixell_runtime.binding import Invoke, bind


class Handler(NamedTuple):
    """One export, ready to be called with an input."""

    id: str
    module: str
    invoke: Invoke
    #: "async" if calling it gives something to await, else "sync".
    lane: str
    #: Whether it is a generator function.
    streams: bool
    threads: int

    def describe(self) -> dict[str, Any]:
        """As in the `ready` message."""
        return {"id": self.id, "lane": self.lane, "streams": self.streams}


class LoadError(Exception):
    """An export or a surface cannot be served. `phase` is "import", "handler" or "surface"; the cause is
    chained."""

    def __init__(self, phase: str, export: str, error: BaseException) -> None:
        super().__init__(f"{phase} of {export}")
        self.phase = phase
        self.export = export
        self.error = error


def extend_path(entries: list[str], kits: list[str]) -> None:
    """Puts a package's folders in front, in order, each once, the interpreter's own behind them, and behind
    those the kits, from which only what is nowhere else is taken."""
    front = list(dict.fromkeys(entries))
    sys.path[:] = front + [entry for entry in sys.path if entry not in (*front, *kits)] + kits


def is_async(function: Any) -> bool:
    """Whether calling it gives something to await, or an async generator."""
    code = _code_of(function)
    return inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)


def load(exports: list[dict[str, Any]]) -> list[Handler]:
    """Imports every export's module and finds its handler."""
    return [_load(export) for export in exports]


def _load(export: dict[str, Any]) -> Handler:
    ident = export["id"]
    try:
        module = importlib.import_module(export["module"])
    except BaseException as error:  # modules may also call sys.exit()
        raise LoadError("import", ident, error) from error
    try:
        target = functools.reduce(getattr, export["attribute"].split("."), module)
        function = _callable(target, export.get("class_method"))
        invoke = bind(function)
    except BaseException as error:
        raise LoadError("handler", ident, error) from error
    code = _code_of(function)
    streams = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
    lane = "async" if is_async(function) else "sync"
    threads = max(1, int(export.get("threads") or 1))
    return Handler(ident, export["module"], invoke, lane, streams, threads)


def _callable(target: Any, method: str | None) -> Callable[..., Any]:
    """Classes are instantiated once; of an instance, `invoke` is meant before the instance itself."""
    is_class = inspect.isclass(target)
    if is_class:
        target = target()
    if method:
        target = getattr(target, method)
    elif is_class or not callable(target):
        target = getattr(target, "invoke", target)
    if not callable(target):
        raise TypeError(f"{type(target).__qualname__} is not callable and has no method invoke")
    found: Callable[..., Any] = target
    return found


def _code_of(function: Any) -> Any:
    """The function whose kind (async, generator) decides: of callable objects, their `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004
