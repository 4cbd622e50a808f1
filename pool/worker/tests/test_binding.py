"""Which arguments a handler receives for which input."""

from __future__ import annotations

import functools

import pytest

from pixell_runtime.binding import InputRefused, bind
from pixell_runtime.context import SLOT
from pixell_runtime.frames import Kind
from pixell_runtime.handlers import LoadError, extend_path, load


@pytest.fixture(autouse=True)
def running():
    SLOT.frame = (Kind.CALL, 0, 1, 0, 0, b'{"request_id":"r-1"}', b"", 0)
    yield
    SLOT.frame = None


class Callable:
    def __call__(self, a, b):
        return (a, b)


def positional_only(a, b=2, /, c=3):
    return (a, b, c)


def only_star(*values):
    return values


def with_context_first(context, value):
    return (context.request_id, value)


INPUT = {"a": 1, "b": 2}

TABLE = [
    ("one positional takes the whole input", lambda value: value, INPUT, INPUT),
    ("whatever its type", lambda value: value, [1], [1]),
    ("whatever its name", lambda context: context, INPUT, INPUT),
    ("with a default too", lambda value=None: value, INPUT, INPUT),
    ("only *args takes it as well", only_star, INPUT, (INPUT,)),
    ("none takes nothing", lambda: "called", INPUT, "called"),
    ("several take keywords", lambda a, b: (a, b), INPUT, (1, 2)),
    ("defaults may be left out", lambda a, b, c=3: (a, b, c), INPUT, (1, 2, 3)),
    ("a keyword-only one takes a keyword", lambda *, a: a, {"a": 1}, 1),
    ("beside a positional one too", lambda a, *, b: (a, b), INPUT, (1, 2)),
    ("**kwargs take everything", lambda **all_: all_, INPUT, INPUT),
    ("a positional beside **kwargs is a keyword", lambda a, **rest: (a, rest), INPUT, (1, {"b": 2})),
    ("*args and **kwargs take keywords", lambda *a, **all_: (a, all_), INPUT, ((), INPUT)),
    (
        "context beside one leaves it the whole input",
        lambda v, context: (v, context.request_id),
        5,
        (5, "r-1"),
    ),
    ("context may stand first", with_context_first, INPUT, ("r-1", INPUT)),
    ("context beside several", lambda a, b, context: (a, b, context.request_id), INPUT, (1, 2, "r-1")),
    ("context as a keyword-only one", lambda v, *, context: (v, context.request_id), 5, (5, "r-1")),
    ("context beside **kwargs", lambda context, **all_: (context.request_id, all_), INPUT, ("r-1", INPUT)),
    ("context alone by keyword is an argument", lambda *, context: context, {"context": 1}, 1),
    ("positional-only ones by their names", positional_only, {"a": 1, "c": 9}, (1, 2, 9)),
    (
        "what partial has bound does not count",
        functools.partial(lambda v, client: (v, client), client=7),
        5,
        (5, 7),
    ),
    ("nor by position", functools.partial(lambda client, v: (v, client), 7), 5, (5, 7)),
    ("callable objects without self", Callable(), INPUT, (1, 2)),
    ("builtins without a signature take the whole", dict, INPUT, INPUT),
]

REFUSED = [
    ("missing", lambda a, b: 0, {"a": 1}, [("/b", "required argument is missing")]),
    ("unexpected", lambda a, b: 0, {"a": 1, "b": 2, "c/d": 3}, [("/c~1d", "unexpected argument")]),
    (
        "both",
        lambda *, a: 0,
        {"b": 1},
        [("/a", "required argument is missing"), ("/b", "unexpected argument")],
    ),
    ("missing beside **kwargs", lambda a, **rest: 0, {"b": 1}, [("/a", "required argument is missing")]),
    ("an array", lambda a, b: 0, [1, 2], [("", "the input must be an object, not an array")]),
    ("null", lambda **all_: 0, None, [("", "the input must be an object, not null")]),
    (
        "context from outside",
        lambda a, b, context: 0,
        {**INPUT, "context": 1},
        [("/context", "unexpected argument")],
    ),
    (
        "also beside **kwargs",
        lambda context, **r: 0,
        {"x": 1, "context": 1},
        [("/context", "unexpected argument")],
    ),
    (
        "a hole in positional-only ones",
        lambda a=1, b=2, /: 0,
        {"b": 1},
        [("/a", "required argument is missing")],
    ),
]


@pytest.mark.parametrize(
    ("handler", "value", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TABLE]
)
def test_the_contracts_table(handler, value, expected):
    assert bind(handler)(value) == expected


@pytest.mark.parametrize(
    ("handler", "value", "errors"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED]
)
def test_what_does_not_bind_is_refused_without_a_call(handler, value, errors):
    with pytest.raises(InputRefused) as refusal:
        bind(handler)(value)
    assert [(one["path"], one["message"]) for one in refusal.value.errors] == errors


# How handlers are found

SOURCE = """
import functools
def sync(v): return v
async def coroutine(v): return v
def generator(v): yield v
async def items(v): yield v
class Plain:
    def invoke(self, v): return v
class Awaited:
    async def invoke(self, v): return v
class Called:
    async def __call__(self, v): return v
class Both:
    def __call__(self, v): return 'call'
    def invoke(self, v): return 'invoke'
    def other(self, v): return 'other'
instance = Called()
bound = functools.partial(coroutine)
held = Plain()
number = 5
class Outer:
    inner = staticmethod(sync)
"""


@pytest.fixture
def exports(tmp_path, monkeypatch):
    import sys

    (tmp_path / "handlers_under_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda attribute, **more: {
        "id": attribute,
        "module": "handlers_under_test",
        "attribute": attribute,
        **more,
    }
    sys.modules.pop("handlers_under_test", None)


@pytest.mark.parametrize(
    ("attribute", "lane", "streams"),
    [
        ("sync", "sync", False),
        ("coroutine", "async", False),
        ("generator", "sync", True),
        ("items", "async", True),
        ("Plain", "sync", False),
        ("Awaited", "async", False),
        ("Called", "async", False),
        ("instance", "async", False),
        ("bound", "async", False),
        ("held", "sync", False),
        ("Outer.inner", "sync", False),
    ],
)
def test_the_lane_follows_from_what_is_called(exports, attribute, lane, streams):
    [handler] = load([exports(attribute)])
    assert handler.describe() == {"id": attribute, "lane": lane, "streams": streams}


def test_of_a_class_invoke_is_called_or_the_method_that_is_named(exports):
    found = load([exports("Both"), exports("Both", class_method="other")])
    assert [handler.invoke(1) for handler in found] == ["invoke", "other"]


@pytest.mark.parametrize("attribute", ["missing", "number", "Outer.missing"])
def test_what_cannot_be_called_fails_the_handler_phase(exports, attribute):
    with pytest.raises(LoadError) as failure:
        load([exports(attribute)])
    assert (failure.value.phase, failure.value.export) == ("handler", attribute)


def test_a_packages_folders_come_first_and_kits_last_each_once(monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", ["/python", "/kit", "/shared", "/runtime"])
    extend_path(["/code", "/shared", "/code"], ["/kit"])
    assert sys.path == ["/code", "/shared", "/python", "/runtime", "/kit"]
