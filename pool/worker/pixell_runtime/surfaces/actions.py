"""Handlers by action, as a package's service offers them.

Enters: a dictionary, or an object with `custom_handlers`. Leaves: `Actions`, and handlers that the worker's
loop can call: one input, the object of parameters, and a result that is always JSON.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from pixell_runtime.binding import bind
from pixell_runtime.handlers import Handler, is_async
from pixell_runtime.results import encode

#: Threads for handlers that are plain functions. They wait for others as a rule: with half, a few slow ones
#: would stop the rest; each costs a stack.
THREADS = 8

_PLAIN_KEYS = ("custom_handlers", "handlers")
_STREAMING_KEY = "streaming_handlers"

Function = Callable[..., Any]


class Actions(NamedTuple):
    """What can be asked of a service."""

    plain: dict[str, Function]
    #: Those that yield events. Only HTTP can pass them on one by one.
    streaming: dict[str, Function]


def read_actions(value: Any) -> Actions | None:
    """The actions in a value; None if it holds none."""
    if isinstance(value, Mapping):
        found = [value[key] for key in _PLAIN_KEYS if key in value]
        streaming = value.get(_STREAMING_KEY)
        if found or streaming is not None:
            return _actions(found[0] if found else {}, streaming)
        whole = bool(value) and all(isinstance(name, str) and callable(one) for name, one in value.items())
        return _actions(value, None) if whole else None
    if inspect.isclass(value) or not hasattr(value, "custom_handlers"):
        return None
    return _actions(value.custom_handlers, getattr(value, _STREAMING_KEY, None))


def to_handlers(actions: dict[str, Function], module: str) -> list[Handler]:
    """One handler for each action, in order; an action's place is its number in calls."""
    return [to_handler(name, function, module) for name, function in actions.items()]


def to_handler(name: str, function: Function, module: str) -> Handler:
    """An action as a handler of the loop. A result that JSON cannot express becomes its text."""
    invoke = bind(function)
    if is_async(function) and not inspect.isasyncgenfunction(function):

        @functools.wraps(invoke)
        async def answer(value: Any) -> Any:
            return expressible(await invoke(value))

        return Handler(name, module, answer, "async", False, THREADS)

    def answer_at_once(value: Any) -> Any:
        result = invoke(value)
        if inspect.isawaitable(result):
            return _awaited(result)
        return expressible(result)

    lane = "async" if is_async(function) else "sync"
    return Handler(name, module, answer_at_once, lane, False, THREADS)


def expressible(value: Any) -> Any:
    """The value, or its text if it cannot be JSON."""
    if (
        value is None
        or isinstance(value, (str, bool))
        or inspect.isgenerator(value)
        or inspect.isasyncgen(value)
    ):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    try:
        encode(value, 0)
    except Exception:
        return str(value)
    return value


async def _awaited(result: Any) -> Any:
    return expressible(await result)


def _actions(plain: Any, streaming: Any) -> Actions:
    return Actions(_checked(plain), _checked(streaming))


def _checked(handlers: Any) -> dict[str, Function]:
    if handlers is None:
        return {}
    if not isinstance(handlers, Mapping):
        raise TypeError(
            f"handlers must be a dictionary of functions by action, not {type(handlers).__name__}"
        )
    for name, function in handlers.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"the handler of action {name!r} is not a function")
    return dict(handlers)
