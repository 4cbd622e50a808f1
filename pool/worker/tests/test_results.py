"""What handlers may return, and what becomes of it."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import sys
import types
import uuid
from collections import OrderedDict, deque, namedtuple
from typing import Any

import pytest

from pixell_runtime.answers import returned
from pixell_runtime.frames import ERROR, MAX_BODY, RESULT


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Text(str, enum.Enum):
    A = "a"


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


class Model:
    """Looks like pydantic 2."""

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        return {"mode": mode}


class OldModel:
    """Looks like pydantic 1."""

    __fields__ = ("x",)

    def dict(self) -> dict[str, Any]:
        return {"x": Colour.RED}


class Frame:
    """Looks like a pandas data frame."""

    columns = ("x",)

    def to_dict(self, orient: str) -> Any:
        return [{"x": 1}] if orient == "records" else None


Pair = namedtuple("Pair", "a b")
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
IDENT = uuid.UUID(int=1)

CONVERTED = [
    (None, None),
    ("é\u2028\x00", "é\u2028\x00"),
    ({1: "a", 1.5: "b", False: "c", None: "d"}, {"1": "a", "1.5": "b", "false": "c", "null": "d"}),
    ((1, 2), [1, 2]),
    (Pair(1, 2), [1, 2]),
    (OrderedDict(a=1), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (deque([1]), [1]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset(["b", "a"]), ["a", "b"]),
    (Colour.RED, "red"),
    (Number.ONE, 1),
    (Text.A, "a"),
    (MOMENT, "2024-01-02T03:04:05+00:00"),
    (MOMENT.date(), "2024-01-02"),
    (MOMENT.time(), "03:04:05"),
    (datetime.timedelta(minutes=1, milliseconds=500), 60.5),
    (IDENT, str(IDENT)),
    (decimal.Decimal("1.10"), "1.10"),
    (Point(1, Point(2)), {"x": 1, "inner": {"x": 2, "inner": None}}),
    (Model(), {"mode": "json"}),
    (OldModel(), {"x": "red"}),
    (Frame(), [{"x": 1}]),
    (10**30, 10**30),
]


def convert(value: Any) -> Any:
    answer = returned(value, lambda: False)
    assert answer.kind == RESULT, answer
    return json.loads(answer.payload)


def refuse(value: Any) -> dict[str, Any]:
    answer = returned(value, lambda: False)
    assert answer.kind == ERROR, answer
    return json.loads(answer.payload)


@pytest.mark.parametrize(("value", "expected"), CONVERTED, ids=lambda value: type(value).__name__)
def test_values_become_json(value, expected):
    assert convert({"inside": [value]}) == {"inside": [expected]}
    assert convert(value) == expected


def test_real_pydantic_models_are_converted():
    pydantic = pytest.importorskip("pydantic")

    class Person(pydantic.BaseModel):
        name: str
        born: datetime.date
        secret: pydantic.SecretStr

    person = Person(name="A", born="2000-01-02", secret="x")
    assert convert([person]) == [{"name": "A", "born": "2000-01-02", "secret": "**********"}]


def test_real_numpy_values_are_converted():
    numpy = pytest.importorskip("numpy")
    value = {"f": numpy.float32(0.5), "i": numpy.int64(3), "b": numpy.bool_(True), "a": numpy.eye(2)}
    assert convert(value) == {"f": 0.5, "i": 3, "b": True, "a": [[1.0, 0.0], [0.0, 1.0]]}
    assert refuse({"a": numpy.array([1.0, float("nan")])})["place"] == "/a/1"


CIRCLE: list[Any] = [1]
CIRCLE.append({"back": CIRCLE})
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


class Failing:
    def model_dump(self) -> Any:
        raise RuntimeError("no dump")


REFUSED = [
    ("NaN", {"a": [1, float("nan")]}, "/a/1", "nan"),
    ("infinity", [float("-inf")], "/0", "-inf"),
    ("an infinite key", {float("inf"): 1}, "/inf", "inf"),
    ("an object", {"a": {"b": object()}}, "/a/b", "object"),
    ("bytes inside", {"a": b"x"}, "/a", "bytes"),
    ("a generator inside", {"a": (n for n in ())}, "/a", "generator"),
    ("a tuple as key", {"a": {(1, 2): 1}}, "/a/(1, 2)", "tuple"),
    ("an enum as key", {Colour.RED: 1}, "/Colour.RED", "Colour"),
    ("a pointer is escaped", {"a/b~c": object()}, "/a~1b~0c", "object"),
    ("a circle", CIRCLE, "/1/back", "circular"),
    ("depth", DEEP, "", "deep"),
    ("a lone surrogate", {"a": "\ud800"}, "/a", "surrogate"),
    ("a lone surrogate in a key", {"\ud800": 1}, "", "surrogate"),
    ("a conversion that fails", [Failing()], "/0", "no dump"),
    ("inside a dataclass", [Point(1, {"y": object()})], "/0/inner/y", "object"),
    ("a set of what cannot be", {"a": {object}}, "/a/0", "type"),
]


@pytest.mark.parametrize(("value", "place", "word"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_what_cannot_be_json_is_refused_with_its_place(value, place, word):
    error = refuse(value)
    assert (error["kind"], error["place"]) == ("result", place)
    assert word in error["message"]


def test_results_over_the_frame_limit_are_refused():
    assert str(MAX_BODY) in refuse("x" * MAX_BODY)["message"]
    assert refuse(b"x" * (MAX_BODY + 1))["kind"] == "result"


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no such limit")
def test_an_integer_with_too_many_digits_is_refused():
    assert refuse({"n": 10**5000})["place"] == "/n"
