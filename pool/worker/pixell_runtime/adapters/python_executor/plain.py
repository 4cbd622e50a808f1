"""Values of executed code as JSON.

Enters: anything. Leaves: what the encoder takes without complaint. Nothing that code leaves in its globals may fail
the call: what has no JSON form becomes text, and what is too large becomes short text.
"""

from __future__ import annotations

import contextlib
import math
import reprlib
from typing import Any

from pixell_runtime.failures import clip
from pixell_runtime.results import convert, type_name

#: Bytes of one value, about. What somebody wants to see is far below; 60 of them fit a frame.
MAX_VALUE = 1 << 20

#: Bytes of all globals of an answer together.
MAX_VALUES = 4 << 20

#: Bytes of a text that stands for a value.
MAX_TEXT = 10_000

#: Values inside of values. JSON readers of other languages end at some hundred.
MAX_DEPTH = 64


class TooLarge(Exception):
    """There is no more room."""


class Room:
    """How much may still be said."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_VALUE) -> None:
        self.left = left

    def take(self, amount: int) -> None:
        """Raises `TooLarge` when there is not so much left."""
        self.left -= amount
        if self.left < 0:
            raise TooLarge


def result(value: Any) -> Any:
    """One value as JSON, with all conversions that results of handlers have."""
    try:
        return _plain(value, Room(), 0, convert)
    except Exception:
        return text(value, short=True)


def results(names: dict[str, Any]) -> dict[str, Any]:
    """Globals as JSON: texts, numbers, booleans, lists and objects as they are, all else as its text."""
    left = MAX_VALUES
    said = {}
    for name, value in names.items():
        room = Room(min(left, MAX_VALUE))
        before = room.left
        try:
            said[clip(name, MAX_TEXT)] = _plain(value, room, 0, text)
            left -= before - room.left
        except Exception:
            said[clip(name, MAX_TEXT)] = text(value, short=True)
    return said


def text(value: Any, *, short: bool = False) -> str:
    """`str(value)`, which is code of the session and may fail or be endless."""
    with contextlib.suppress(Exception):
        return clip(reprlib.repr(value) if short else str(value), MAX_TEXT)
    return f"<{type_name(type(value))} without a text>"


def _plain(value: Any, room: Room, depth: int, other: Any) -> Any:
    room.take(8)
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is int:
        room.take(value.bit_length() // 3)
        # Beyond the interpreter's limit of digits it has no text either.
        return value if _has_digits(value) else f"<int of {value.bit_length()} bits>"
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is str:
        room.take(len(value))
        return value.encode("utf-8", "replace").decode()
    if depth >= MAX_DEPTH:
        raise TooLarge
    if isinstance(value, dict):
        # A copy: a thread of the session may change it meanwhile.
        return {_key(key, room): _plain(item, room, depth + 1, other) for key, item in dict(value).items()}
    if isinstance(value, list) or (isinstance(value, tuple) and (depth or other is convert)):
        return [_plain(item, room, depth + 1, other) for item in list(value)]
    if isinstance(value, (bool, int, float, str)):
        # Of a class of its own.
        base = next(one for one in (bool, int, float, str) if isinstance(value, one))
        return _plain(base(value), room, depth + 1, other)
    try:
        converted = other(value)
    except Exception:
        converted = text(value)
    return _plain(converted, room, depth + 1, other)


def _key(key: Any, room: Room) -> str:
    said = key if type(key) is str else text(key)
    room.take(len(said))
    return said.encode("utf-8", "replace").decode()


def _has_digits(number: int) -> bool:
    try:
        int.__repr__(number)
    except ValueError:
        return False
    return True
