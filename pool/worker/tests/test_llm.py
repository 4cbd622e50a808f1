"""Counts of what language models consume, and hooks that never break anything."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixell_runtime import usage
from pixell_runtime.llm import counting, watch
from pixell_runtime.llm.reading import said


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was recorded."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(usage, "record", lambda **counts: calls.append(counts))
    return calls


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where modules are found, in a process that has not seen them yet."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("openai", "anthropic")]:
        del sys.modules[name]


class Response:
    """What the clients hand along with what was in it."""

    def __init__(self, method: str = "POST", path: str = "/v1/messages") -> None:
        url = type("Url", (), {"path": path})
        self.request = type("Request", (), {"method": method, "url": url})


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (
            {
                "object": "chat.completion",
                "model": "gpt",
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 3,
                    "total_tokens": 12,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            },
            ("gpt", {"input_tokens": 9, "output_tokens": 3, "cached_input_tokens": 4, "reasoning_tokens": 2}),
        ),
        ({"object": "chat.completion.chunk", "model": "gpt", "usage": None}, ("gpt", {})),
        (
            {"object": "list", "model": "emb", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
            ("emb", {"input_tokens": 8}),
        ),
        (
            {
                "type": "response.completed",
                "response": {"model": "gpt", "usage": {"input_tokens": 1, "output_tokens": 2}},
            },
            ("gpt", {"input_tokens": 1, "output_tokens": 2}),
        ),
        ({"data": {"model": "m", "usage": {"input_tokens": 1}}, "event": "x"}, ("m", {"input_tokens": 1})),
        (
            {
                "type": "message_start",
                "message": {"model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}},
            },
            ("claude", {"input_tokens": 5, "output_tokens": 1}),
        ),
        (
            {"type": "message_delta", "usage": {"output_tokens": 7, "cache_read_input_tokens": 3}},
            (None, {"output_tokens": 7, "cache_read_input_tokens": 3}),
        ),
        (
            {"model": "m", "usage": {"input_tokens": "9", "output_tokens": -1, "prompt_tokens": True}},
            ("m", {}),
        ),
        ({"model": 3, "usage": []}, (None, {})),
        ({"usage": {"completion_tokens_details": 7}}, (None, {})),
        ("text", (None, {})),
        (None, (None, {})),
    ],
)
def test_counts_are_what_the_provider_says_and_nothing_else(data: Any, wanted: Any) -> None:
    assert said(data) == wanted


def test_a_sum_that_grows_is_counted_once(told: list[dict[str, Any]]) -> None:
    stream, other = Response(), Response()
    for data in (
        {"message": {"model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"usage": {"output_tokens": 4}},
        {"usage": {"input_tokens": 5, "output_tokens": 4}},
        {"usage": {"output_tokens": 9}},
    ):
        counting.count(data, stream)
    counting.count({"model": "claude", "usage": {"input_tokens": 2}}, other)
    assert told == [
        {"model": "claude", "input_tokens": 5, "output_tokens": 1},
        {"model": "claude", "output_tokens": 3},
        {"model": "claude", "output_tokens": 5},
        {"model": "claude", "input_tokens": 2},
    ]


def test_what_is_only_looked_at_costs_nothing(told: list[dict[str, Any]]) -> None:
    data = {"model": "gpt", "usage": {"input_tokens": 5}}
    counting.count(data, Response("GET", "/v1/responses/1"))
    counting.count(data, Response("POST", "/v1/responses/1/cancel"))
    assert told == []


CLIENT = """
class BaseClient:
    def _process_response_data(self, *, data, cast_to, response):
        if data == "bad":
            raise ValueError("theirs")
        return cast_to(data)
"""


def module(place: Path, name: str, code: str) -> None:
    package = place / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_base_client.py").write_text(code)
    importlib.invalidate_caches()


@pytest.mark.parametrize("first", ["watch", "import"])
def test_a_client_is_counted_whenever_it_is_imported(
    place: Path, told: list[dict[str, Any]], first: str
) -> None:
    module(place, "openai", CLIENT)
    if first == "watch":
        watch.watch()
        watch.watch()
    loaded = importlib.import_module("openai._base_client")
    if first == "import":
        watch.watch()
    client = loaded.BaseClient()
    data = {"model": "gpt", "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
    assert client._process_response_data(data=data, cast_to=dict, response=Response()) == data
    assert told == [{"model": "gpt", "input_tokens": 2, "output_tokens": 3}]
    with pytest.raises(ValueError, match="theirs"):
        client._process_response_data(data="bad", cast_to=str, response=Response())
    assert client._process_response_data(data=data, cast_to=dict, response=None) == data, (
        "no response, no count"
    )
    assert len(told) == 1 and type(loaded.__loader__).__name__ == "SourceFileLoader"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "BaseClient = 3",
        "class BaseClient: pass",
        "class BaseClient:\n    _process_response_data = None",
        "class BaseClient:\n    def _process_response_data(self, data, response): return data",
        "class BaseClient:\n    def _process_response_data(self, *, body): return body",
        "class BaseClient:\n    @staticmethod\n    def _process_response_data(*, data, response): return data",
    ],
)
def test_a_client_that_is_not_as_expected_is_left_as_it_is(place: Path, code: str) -> None:
    module(place, "anthropic", code)
    watch.watch()
    loaded = importlib.import_module("anthropic._base_client")
    assert not watch.hook(loaded)
    method = getattr(getattr(loaded, "BaseClient", None), "_process_response_data", None)
    assert not hasattr(method, watch.MARK)


def test_a_client_that_cannot_be_imported_fails_as_it_would(place: Path) -> None:
    module(place, "openai", "raise RuntimeError('theirs')")
    watch.watch()
    with pytest.raises(RuntimeError, match="theirs"):
        importlib.import_module("openai._base_client")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("anthropic._base_client")


def test_other_finders_may_be_as_they_like(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        """Without `find_spec`, as before Python 3.4."""

    module(place, "openai", CLIENT)
    watch.watch()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:1], Old(), *sys.meta_path[1:]])
    assert watch._Finder().find_spec("openai._base_client") is None
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if not isinstance(finder, Old)])
    assert importlib.import_module("openai._base_client").BaseClient
