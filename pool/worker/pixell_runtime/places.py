"""Where in a result the part is that cannot become JSON.

Enters: a value that the encoder has refused, and its error. Leaves: a JSON Pointer and a sentence. Slow, and
only walked after a failure.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pixell_runtime.results import convert, type_name


class Fault(NamedTuple):
    """`place` is a JSON Pointer into the result, empty for the whole."""

    place: str
    message: str


def locate(value: Any, error: BaseException) -> Fault:
    """The first part of `value` that cannot become JSON."""
    try:
        fault = _walk(value, (), set())
    except RecursionError:
        fault = Fault("", "nested too deeply")
    if fault is None:
        # A value that changes while it is read, or code of its own that fails only sometimes.
        fault = Fault("", _message(error))
    return fault


def _message(error: BaseException) -> str:
    try:
        return str(error) or type_name(type(error))
    except Exception:
        return type_name(type(error))


def _walk(value: Any, path: tuple[str, ...], around: set[int]) -> Fault | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, int):
        return _check_int(value, path)
    if isinstance(value, float):
        return None if math.isfinite(value) else Fault(_pointer(path), f"{float(value)} is not JSON")
    if id(value) in around:
        return Fault(_pointer(path), "circular: the value contains itself")
    around.add(id(value))
    try:
        return _walk_into(value, path, around)
    finally:
        around.discard(id(value))


def _walk_into(value: Any, path: tuple[str, ...], around: set[int]) -> Fault | None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, (str, int, float))):
                message = f"a key must be text, a number, a boolean or None, not {type_name(type(key))}"
                return Fault(_pointer((*path, str(key))), message)
            if isinstance(key, float) and not math.isfinite(key):
                return Fault(_pointer((*path, str(key))), f"the key {key} is not JSON")
            fault = _check_text(key, path) if isinstance(key, str) else None
            fault = fault or _walk(item, (*path, str(key)), around)
            if fault:
                return fault
        return None
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            fault = _walk(item, (*path, str(index)), around)
            if fault:
                return fault
        return None
    try:
        converted = convert(value)
    except RecursionError:
        raise
    except Exception as error:
        return Fault(_pointer(path), _message(error))
    return _walk(converted, path, around)


def _check_text(text: str, path: tuple[str, ...]) -> Fault | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Fault(_pointer(path), "text with a lone surrogate is not Unicode")
    return None


def _check_int(number: int, path: tuple[str, ...]) -> Fault | None:
    try:
        int.__repr__(number)
    except ValueError as error:
        return Fault(_pointer(path), _message(error))
    return None


def _pointer(path: tuple[str, ...]) -> str:
    parts = (part.encode("utf-8", "replace").decode() for part in path)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
