"""What a worker keeps of sessions, and when it lets go."""

from __future__ import annotations

from typing import Any

import pytest

from pixell_runtime.frames import Kind

COUNT = (
    "def count(value, context):\n"
    "    context.session.state['n'] = context.session.state.get('n', 0) + 1\n"
    "    return [context.session.id, context.session.state['n']]\n"
)
ASYNC = COUNT.replace("def count", "async def count")


def session(ident: str, key: int | None = None) -> dict[str, Any]:
    named = {"id": ident} if key is None else {"id": ident, "key": key}
    return {"request_id": "r", "session": named}


@pytest.mark.parametrize("source", [COUNT, ASYNC], ids=["sync", "async"])
def test_state_is_kept_by_number_until_it_is_forgotten(gateway, source):
    worker = gateway(source, "count").worker()
    assert worker.ask({}, meta=session("s", 1)) == ["s", 1]
    assert worker.ask({}, meta=session("s", 1)) == ["s", 2]
    assert worker.ask({}, meta=session("s", 2)) == ["s", 1], "another session of the same id"
    worker.aside(Kind.FORGET, meta={"session": 1})
    worker.settle()
    assert worker.ask({}, meta=session("s", 1)) == ["s", 1]
    assert worker.ask({}, meta=session("s", 2)) == ["s", 2], "only the one that was named is forgotten"


def test_without_a_number_nothing_is_kept(gateway):
    worker = gateway(COUNT, "count").worker()
    assert [worker.ask({}, meta=session("s")) for _ in range(2)] == [["s", 1], ["s", 1]]


def test_an_unknown_session_is_forgotten_without_harm(gateway):
    worker = gateway(COUNT, "count").worker()
    worker.aside(Kind.FORGET, meta={"session": 99})
    worker.settle()
    assert worker.ask({}, meta=session("s", 1)) == ["s", 1]


def test_a_forget_that_names_nothing_breaks_the_worker(gateway):
    worker = gateway(COUNT, "count").worker()
    worker.aside(Kind.FORGET, meta={})
    assert worker.status() != 0
