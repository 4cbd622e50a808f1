"""How an input becomes arguments.

Enters: a handler. Leaves: a function of one parameter, the input, that calls the handler or raises
`InputRefused` without having called it. All decisions are taken from the signature, once: a `TypeError` that
comes out of a call is the handler's own.

| parameters, `context` beside others not counted | arguments |
|---|---|
| none | none |
| one positional (or only `*args`) | the whole input |
| several, a keyword-only one, or `**kwargs` | the input's members as keywords |
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from pixell_runtime.context import current

Invoke = Callable[[Any], Any]

_CONTEXT = "context"


class InputRefused(Exception):
    """The input does not fit the handler's parameters. `errors` says where, as `{"path", "message"}`."""

    def __init__(self, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors if errors is not None else [{"path": "", "message": message}]


class Parameters(NamedTuple):
    """A signature, sorted by what matters for binding."""

    positional: list[inspect.Parameter]
    keyword_only: list[inspect.Parameter]
    takes_any_keyword: bool
    wants_context: bool


def bind(handler: Callable[..., Any]) -> Invoke:
    """The function that calls `handler` with an input."""
    parameters = _read(handler)
    positional = parameters.positional
    if parameters.takes_any_keyword or parameters.keyword_only or len(positional) > 1:
        return _by_keywords(handler, parameters)
    if positional:
        return _with_whole(handler, positional[0], parameters.wants_context)
    return _with_nothing(handler, parameters.wants_context)


def _read(handler: Callable[..., Any]) -> Parameters:
    try:
        all_ = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        # Builtins without a signature: they take one argument or fail.
        all_ = [inspect.Parameter("input", inspect.Parameter.POSITIONAL_ONLY)]
    if isinstance(handler, functools.partial):
        # What the author has bound already is no parameter of the agent.
        all_ = [one for one in all_ if one.name not in handler.keywords]
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [one for one in all_ if one.kind in plain]
    keyword_only = [one for one in all_ if one.kind is inspect.Parameter.KEYWORD_ONLY]
    any_keyword = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in all_)
    any_positional = [one for one in all_ if one.kind is inspect.Parameter.VAR_POSITIONAL]
    named = [one for one in positional + keyword_only if one.name == _CONTEXT]
    beside = len(positional) + len(keyword_only) + any_keyword > 1
    wants_context = bool(named) and beside and named[0].kind is not inspect.Parameter.POSITIONAL_ONLY
    if wants_context:
        positional = [one for one in positional if one.name != _CONTEXT]
        keyword_only = [one for one in keyword_only if one.name != _CONTEXT]
    if any_positional and not (positional or keyword_only or any_keyword):
        positional = [inspect.Parameter("input", inspect.Parameter.POSITIONAL_ONLY)]
    return Parameters(positional, keyword_only, any_keyword, wants_context)


def _with_nothing(handler: Callable[..., Any], wants_context: bool) -> Invoke:
    if wants_context:
        return lambda value: handler(context=current())
    return lambda value: handler()


def _with_whole(handler: Callable[..., Any], parameter: inspect.Parameter, wants_context: bool) -> Invoke:
    if not wants_context:
        return handler
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        return lambda value: handler(value, context=current())
    # By name, because `context` may stand before it.
    name = parameter.name
    return lambda value: handler(**{name: value, _CONTEXT: current()})


def _by_keywords(handler: Callable[..., Any], parameters: Parameters) -> Invoke:
    every = parameters.positional + parameters.keyword_only
    required = frozenset(one.name for one in every if one.default is inspect.Parameter.empty)
    allowed = frozenset(one.name for one in every)
    any_keyword = parameters.takes_any_keyword
    wants_context = parameters.wants_context
    by_position = [one.name for one in parameters.positional if one.kind is inspect.Parameter.POSITIONAL_ONLY]

    def invoke(value: Any) -> Any:
        if not isinstance(value, dict):
            raise InputRefused(f"the input must be an object, not {_json_type(value)}")
        keys = value.keys()
        if not keys >= required or not (any_keyword or keys <= allowed):
            raise _mismatch(keys, required, None if any_keyword else allowed)
        if wants_context:
            if _CONTEXT in value:
                raise _mismatch(keys, required, frozenset(keys) - {_CONTEXT})
            value = {**value, _CONTEXT: current()}
        if by_position:
            return _split(handler, by_position, value)
        return handler(**value)

    return invoke


def _split(handler: Callable[..., Any], by_position: list[str], value: dict[str, Any]) -> Any:
    rest = dict(value)
    arguments = []
    for index, name in enumerate(by_position):
        if name not in value:
            late = [other for other in by_position[index:] if other in value]
            if late:
                # Python cannot leave out a positional-only argument and give a later one.
                raise _mismatch(value.keys(), frozenset((name,)), None)
            break
        arguments.append(rest.pop(name))
    return handler(*arguments, **rest)


def _mismatch(keys: Iterable[str], required: frozenset[str], allowed: frozenset[str] | None) -> InputRefused:
    given = set(keys)
    missing = sorted(required - given)
    unexpected = [] if allowed is None else sorted(given - allowed)
    errors = [{"path": _path(name), "message": "required argument is missing"} for name in missing]
    errors += [{"path": _path(name), "message": "unexpected argument"} for name in unexpected]
    parts = []
    if missing:
        parts.append("missing: " + ", ".join(missing))
    if unexpected:
        parts.append("unexpected: " + ", ".join(unexpected))
    return InputRefused("the input does not fit the handler's arguments; " + "; ".join(parts), errors)


def _path(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), type(value).__name__)
