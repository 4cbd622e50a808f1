"""Tokens that the real `openai` and `anthropic` clients consume are counted, without code changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Par, serving
from models import models

MANIFEST = """
name: thinking
version: 1.0.0
exports:
  - {id: openai-sync, handler: "main:openai_sync"}
  - {id: openai-async, handler: "main:openai_async"}
  - {id: anthropic-sync, handler: "lazy:anthropic_sync"}
  - {id: anthropic-async, handler: "lazy:anthropic_async"}
"""

#: The newest of today, and what agents were written against two years before.
REQUIREMENTS = {
    "today": "openai==3.57.0\nanthropic==2.14.0\n",
    "before": "openai==1.40.0\nanthropic==0.34.0\nhttpx<0.28\n",
}

#: Imported by the template, before any worker is forked.
MAIN = """
import openai

MESSAGES = [{"role": "user", "content": "hi"}]

def arguments(kind, model, usage):
    if kind == "chat":
        more = {"stream_options": {"include_usage": True}} if usage else {}
        return "chat.completions", {"model": model, "messages": MESSAGES, **more}
    if kind == "responses":
        return "responses", {"model": model, "input": "hi"}
    return "embeddings", {"model": model, "input": ["hi"], "encoding_format": "float"}

def resource(client, path):
    for name in path.split("."):
        client = getattr(client, name)
    return client.create

def openai_sync(input):
    path, given = arguments(input["kind"], input["model"], input.get("usage"))
    client = openai.OpenAI(base_url=input["base"] + "/v1", api_key="k", max_retries=0)
    try:
        if input.get("stream"):
            return len(list(resource(client, path)(stream=True, **given)))
        return type(resource(client, path)(**given)).__name__
    except openai.BadRequestError as error:
        return [error.status_code, error.body["message"]]

async def openai_async(input):
    path, given = arguments(input["kind"], input["model"], input.get("usage"))
    client = openai.AsyncOpenAI(base_url=input["base"] + "/v1", api_key="k", max_retries=0)
    try:
        if input.get("stream"):
            return len([event async for event in await resource(client, path)(stream=True, **given)])
        return type(await resource(client, path)(**given)).__name__
    except openai.BadRequestError as error:
        return [error.status_code, error.body["message"]]
"""

#: Imported by the first call.
LAZY = """
def given(input):
    return {"model": input["model"], "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

def anthropic_sync(input):
    import anthropic
    client = anthropic.Anthropic(base_url=input["base"], api_key="k", max_retries=0)
    try:
        if input.get("stream") == "events":
            return len(list(client.messages.create(stream=True, **given(input))))
        if input.get("stream"):
            with client.messages.stream(**given(input)) as stream:
                return "".join(stream.text_stream)
        return type(client.messages.create(**given(input))).__name__
    except anthropic.BadRequestError as error:
        return [error.status_code, error.body["error"]["message"]]

async def anthropic_async(input):
    import anthropic
    client = anthropic.AsyncAnthropic(base_url=input["base"], api_key="k", max_retries=0)
    try:
        if input.get("stream") == "events":
            return len([event async for event in await client.messages.create(stream=True, **given(input))])
        if input.get("stream"):
            async with client.messages.stream(**given(input)) as stream:
                return "".join([text async for text in stream.text_stream])
        return type(await client.messages.create(**given(input))).__name__
    except anthropic.BadRequestError as error:
        return [error.status_code, error.body["error"]["message"]]
"""


@pytest.fixture(scope="module", params=REQUIREMENTS)
def thinking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Par, str, str]]:
    """A `par` with the agents, the server that they ask, and which generation of clients they have."""
    package: Path = tmp_path_factory.mktemp("thinking")
    for name, text in (
        ("agent.yaml", MANIFEST),
        ("requirements.txt", REQUIREMENTS[request.param]),
        ("main.py", MAIN),
        ("lazy.py", LAZY),
    ):
        (package / name).write_text(text)
    with models() as base, serving(tmp_path_factory.mktemp("par"), "--dev", str(package)) as par:
        yield par, base, request.param


def called(thinking: tuple[Par, str, str], agent: str, **input: Any) -> tuple[Any, Any]:
    """The result, and what the runtime says it has consumed."""
    par, base, _ = thinking
    status, told = par.request("POST", f"/runtime/agents/{agent}/invoke", {"input": {"base": base, **input}})
    assert status == 200, told
    return told["output"], told["metadata"].get("usage") or []


CHAT = {"input_tokens": 11, "output_tokens": 7, "cached_input_tokens": 3}
RESPONSE = {"input_tokens": 21, "output_tokens": 5, "reasoning_tokens": 2}
MESSAGE = {"input_tokens": 31, "output_tokens": 4, "cache_read_input_tokens": 6}


@pytest.mark.parametrize("lane", ["sync", "async"])
@pytest.mark.parametrize(
    ("input", "output", "counts"),
    [
        ({"kind": "chat"}, "ChatCompletion", CHAT),
        ({"kind": "chat", "stream": True, "usage": True}, 3, CHAT),
        ({"kind": "chat", "stream": True}, 2, None),
        ({"kind": "embeddings"}, "CreateEmbeddingResponse", {"input_tokens": 8, "output_tokens": 0}),
        ({"kind": "responses"}, "Response", RESPONSE),
        ({"kind": "responses", "stream": True}, 3, RESPONSE),
    ],
    ids=lambda value: "-".join(f"{name}" for name in value) if isinstance(value, dict) else None,
)
def test_openai_is_counted_as_it_says_itself(
    thinking: tuple[Par, str, str],
    lane: str,
    input: dict[str, Any],
    output: Any,
    counts: dict[str, int] | None,
) -> None:
    if thinking[2] == "before" and input["kind"] == "responses":
        pytest.skip("that generation has no responses")
    wanted = [{"model": "gpt-x", **counts}] if counts else []
    assert called(thinking, f"openai-{lane}", model="gpt-x", **input) == (output, wanted)


@pytest.mark.parametrize("lane", ["sync", "async"])
@pytest.mark.parametrize(("stream", "output"), [(None, "Message"), ("events", 7), ("text", "hello")])
def test_anthropic_is_counted_as_it_says_itself(
    thinking: tuple[Par, str, str], lane: str, stream: str | None, output: Any
) -> None:
    told = called(thinking, f"anthropic-{lane}", model="claude-x", stream=stream)
    assert told == (output, [{"model": "claude-x", **MESSAGE}])


@pytest.mark.parametrize("lane", ["sync", "async"])
def test_what_the_clients_raise_is_theirs_and_costs_nothing(
    thinking: tuple[Par, str, str], lane: str
) -> None:
    for agent in ("openai", "anthropic"):
        told = called(thinking, f"{agent}-{lane}", kind="chat", model="refused")
        assert told == ([400, "no such model"], [])


def test_no_call_pays_for_the_one_before(thinking: tuple[Par, str, str]) -> None:
    for _ in range(3):
        output, usage = called(thinking, "openai-sync", kind="chat", model="gpt-x")
        assert (output, usage) == ("ChatCompletion", [{"model": "gpt-x", **CHAT}])
