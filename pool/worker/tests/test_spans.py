"""Spans that handlers add: which are told, below what, and that none are where nobody keeps them."""

from __future__ import annotations

import json

import pytest
from gateway import Kind, encode, export

from pixell_runtime.frames import TRACED
from pixell_runtime.spans import MAX_SPANS

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAIN = """
import asyncio, contextvars, os, threading, time
from pixell_runtime import context, runtime

def nested(n, context):
    with context.span("outer", {"n": n, "list": [1, "two", 3.5], "odd": {1}, "nan": float("nan")}) as outer:
        with context.span("inner") as inner:
            inner.set("deep", True)
    return [outer.id, inner.id, outer.traceparent]

def fails(_):
    with context.span("risky"):
        raise KeyError("gone")

def many(n):
    for index in range(n):
        with context.span(f"s{index}"):
            pass
    return n

def threaded(_):
    with context.span("around"):
        def work():
            with context.span("in a thread"):
                pass
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(work,))
        thread.start()
        thread.join()

def dies(_):
    with context.span("took its time"):
        with context.span("within"):
            time.sleep(0.02)
    with context.span("never over"):
        os._exit(9)

def calls(_):
    with context.span("asking") as span:
        runtime.call("other")
    return span.id

def items(n):
    with context.span("all of them"):
        for index in range(n):
            with context.span("one of them"):
                yield index
"""
ASYNC = (
    PLAIN.replace("def nested", "async def nested")
    .replace("def fails", "async def fails")
    .replace("def many", "async def many")
    .replace("def threaded", "async def threaded")
    .replace("def dies", "async def dies")
    .replace("def calls", "async def calls")
    .replace("runtime.call(", "await runtime.acall(")
    .replace("def items", "async def items")
)
EXPORTS = ("nested", "fails", "many", "threaded", "calls", "items", "dies")
NESTED, FAILS, MANY, THREADED, CALLS, ITEMS, DIES = range(7)


@pytest.fixture(params=["plain", "async", "threads"])
def lane(request):
    return request.param


@pytest.fixture
def worker(lane, gateway):
    threads = 2 if lane == "threads" else 1
    source = ASYNC if lane == "async" else PLAIN
    return gateway(source, *(export(name, threads=threads) for name in EXPORTS)).worker()


# X == "async" else PLAIN, *(export(name, threads=threads) for name in EXPORTS)).worker()


def traced(worker, number, value, *, flags=TRACED, export=0):
    meta = json.dumps({"request_id": "r", "traceparent": PARENT}).encode()
    payload = json.dumps(value).encode()
    worker.main.sendall(encode(Kind.CALL, flags, number, export, 0, meta, payload))


def told(worker):
    """All that come before the frame that ends the call, in however many frames."""
    return {span["name"]: span for span in all_told(worker)}


def all_told(worker):
    spans = []
    while (frame := worker.frame())[0] == Kind.SPANS:
        spans += json.loads(frame[6])
    worker.frames.appendleft(frame)
    assert spans, frame
    return spans


def test_spans_lie_in_each_other_and_are_told_before_the_end(worker):
    traced(worker, 1, 7)
    spans = told(worker)
    outer_id, inner_id, traceparent = worker.result()
    outer, inner = spans["outer"], spans["inner"]
    assert (outer["id"], inner["id"], inner["parent"]) == (outer_id, inner_id, outer_id)
    assert "parent" not in outer and inner["attributes"] == {"deep": True}
    assert outer["attributes"] == {"n": 7, "list": [1, "two", 3.5], "odd": "{1}", "nan": "nan"}
    assert outer["begin"] <= inner["begin"] <= inner["end"] <= outer["end"]
    assert traceparent == f"00-0af7651916cd43dd8448eb211c80319c-{outer_id}-01"


def test_a_call_whose_trace_is_not_kept_tells_nothing(worker):
    traced(worker, 1, 7, flags=0)
    assert worker.result() == ["", "", None]
    traced(worker, 2, 1)
    assert set(told(worker)) == {"outer", "inner"}, "of the second call alone"


def test_what_is_raised_is_told(worker):
    traced(worker, 1, None, export=FAILS)
    assert told(worker)["risky"]["error"] == {"type": "KeyError", "message": "'gone'"}
    assert worker.error()["type"] == "KeyError"


def test_there_are_not_more_than_par_takes(worker):
    traced(worker, 1, MAX_SPANS + 50, export=MANY)
    assert len(told(worker)) == MAX_SPANS
    assert worker.result() == MAX_SPANS + 50


def test_the_next_call_begins_anew(worker):
    for number in (1, 2):
        traced(worker, number, 2, export=MANY)
        assert sorted(told(worker)) == ["s0", "s1"]
        assert worker.result() == 2


def test_what_was_over_survives_the_worker(worker):
    traced(worker, 1, None, export=DIES)
    assert worker.status() == 9
    frames = [*worker.rest(), *worker.journal_image()[1]]
    spans = [span for frame in frames if frame[0] == Kind.SPANS for span in json.loads(frame[6])]
    # Of what the one around it was to be nobody knows: it has no end.
    assert [span["name"] for span in spans] == ["within", "took its time"]


def test_threads_that_take_the_context_along_add_to_it(worker):
    traced(worker, 1, None, export=THREADED)
    spans = told(worker)
    assert spans["in a thread"]["parent"] == spans["around"]["id"]
    worker.result()


def test_a_call_of_another_agent_names_the_span_it_is_made_in(worker):
    traced(worker, 1, None, export=CALLS)
    invoke = worker.frame()
    meta = json.loads(invoke[5])
    assert meta["parent"] == 1 and len(meta["span"]) == 16
    answers = worker.main if invoke[1] & 2 else worker.side
    answers.sendall(encode(Kind.REPLY, 0, invoke[2], payload=b"1"))
    spans = told(worker)
    assert worker.result() == spans["asking"]["id"] == meta["span"]


def test_items_may_have_spans_of_their_own(worker):
    traced(worker, 1, 2, export=ITEMS)
    spans = all_told(worker)
    names = [span["name"] for span in spans]
    assert names == ["one of them", "one of them", "all of them"]
    assert {span.get("parent") for span in spans} == {spans[2]["id"], None}
