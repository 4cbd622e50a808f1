"""What handlers return, as JSON.

Enters: a Python value. Leaves: JSON text, by an encoder that is built once. Beyond what JSON knows:

| value | becomes |
|---|---|
| pydantic models, dataclasses, mappings | objects |
| enums | their value |
| dates and times | ISO 8601 text |
| timedelta | seconds, as a number |
| UUID, Decimal | text |
| sets, deques | arrays; sets sorted if they can be |
| received files | their name, content type and size |
| numpy scalars and arrays, pandas series | numbers and arrays |
| pandas data frames | an array of rows |

All else, NaN and infinity are refused; `places.py` says where it was.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import json
import json.encoder
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from pixell_runtime.files import ReceivedFile

Converter = Callable[[Any], Any]

#: Classes made anew in every call must not fill the memory: at this many the cache starts again.
MAX_CACHED = 1000

_converters: dict[type, Converter] = {}


class NotJson(TypeError):
    """A value that no rule turns into JSON."""


def convert(value: Any) -> Any:
    """The encoder's hook for everything that JSON does not know."""
    kind = type(value)
    converter = _converters.get(kind)
    if converter is None:
        converter = _choose(value, kind)
        if len(_converters) >= MAX_CACHED:
            _converters.clear()
        _converters[kind] = converter
    return converter(value)


def type_name(kind: type) -> str:
    """The class's full name, without `builtins.`."""
    module = getattr(kind, "__module__", "builtins")
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _choose(value: Any, kind: type) -> Converter:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _refuse_bytes
    if callable(getattr(kind, "model_dump", None)):
        return _dump_by_mode if _takes_mode(kind) else _dump
    if dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
        return lambda one: {name: getattr(one, name) for name in names}
    if isinstance(value, ReceivedFile):
        return lambda one: one.facts
    if isinstance(value, enum.Enum):
        return lambda one: one.value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return lambda one: one.isoformat()
    if isinstance(value, datetime.timedelta):
        return lambda one: one.total_seconds()
    if _is(value, "uuid", "UUID") or _is(value, "decimal", "Decimal"):
        return str
    if isinstance(value, (set, frozenset)):
        return _sort
    if isinstance(value, Mapping):
        return dict
    if isinstance(value, deque):
        return list
    return _choose_by_shape(kind)


def _is(value: Any, module: str, name: str) -> bool:
    """Whether `value` is an instance, without importing what the agent has not imported."""
    known = sys.modules.get(module)
    return known is not None and isinstance(value, getattr(known, name))


def _choose_by_shape(kind: type) -> Converter:
    """Libraries are known by what their classes can do, so that none of them has to be imported here."""
    if hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):
        return lambda one: one.dict()
    if callable(getattr(kind, "to_dict", None)) and hasattr(kind, "columns"):
        return lambda one: one.to_dict(orient="records")
    if callable(getattr(kind, "to_dicts", None)) and hasattr(kind, "columns"):
        return lambda one: one.to_dicts()
    if callable(getattr(kind, "tolist", None)) and hasattr(kind, "dtype"):
        return lambda one: one.tolist()
    if callable(getattr(kind, "to_list", None)) and hasattr(kind, "dtype"):
        return lambda one: one.to_list()
    return _refuse


def _takes_mode(kind: type) -> bool:
    try:
        return "mode" in inspect.signature(kind.model_dump).parameters  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return False


def _dump_by_mode(value: Any) -> Any:
    # Mode "json", because authors write serializers for it and secrets are masked there.
    return value.model_dump(mode="json")


def _dump(value: Any) -> Any:
    return value.model_dump()


def _sort(value: Any) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _refuse_bytes(value: Any) -> Any:
    raise NotJson("bytes can only be the whole result, not a part of it")


def _refuse(value: Any) -> Any:
    raise NotJson(f"a value of type {type_name(type(value))} cannot become JSON")


def _build() -> Callable[[Any, int], Iterable[str]]:
    """The C encoder without the layers around it. It keeps no marks against circles: those meet the
    recursion limit, which costs nothing until then."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is not None:
        try:
            encoder: Callable[[Any, int], Iterable[str]] = make(
                None, convert, json.encoder.encode_basestring, None, ":", ",", False, False, False
            )
            if "".join(encoder({"a": [1]}, 0)) == '{"a":[1]}':
                return encoder
        except TypeError:
            # Another Python's internal signature: the public encoder does the same, slower.
            pass
    public = json.JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=convert
    )
    return lambda value, _level: (public.encode(value),)


#: `"".join(encode(value, 0))` is the JSON text. Raises what the value's own code raises, `TypeError`,
#: `ValueError` and `RecursionError`.
encode = _build()
