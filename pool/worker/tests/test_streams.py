"""Items are sent one by one, as far as there is credit for them, in every way in which a worker runs handlers."""

from __future__ import annotations

import json

import pytest
from gateway import Kind, export

from pixell_runtime.credit import FIRST, WEIGHT
from pixell_runtime.frames import LIST, OCTETS, PIECES, STREAM

# `run(n)` counts to n, `endless(size)` yields texts of that size and says what it has made and how it ends.
PLAIN = """
def run(n):
    for i in range(n):
        yield {"i": i}

def endless(size):
    made = 0
    try:
        while True:
            yield "x" * size
            made += 1
            print("made", made, flush=True)
    finally:
        print("closed", flush=True)

def breaks(_):
    yield 1
    raise ValueError("in the middle")

def odd(_):
    yield 1
    yield object()

def parts(n):
    for i in range(n):
        yield bytes([i]) * 3

def mixed(_):
    yield b"1"
    yield "2"
"""
ASYNC = PLAIN.replace("def ", "async def ")
ATTRIBUTES = ("run", "endless", "breaks", "odd", "parts", "mixed")
RUN, ENDLESS, BREAKS, ODD, PARTS, MIXED = range(len(ATTRIBUTES))


@pytest.fixture(params=["plain", "async", "threads"])
def worker(request, gateway):
    threads = 2 if request.param == "threads" else 1
    source = ASYNC if request.param == "async" else PLAIN
    return gateway(source, *(export(name, threads=threads) for name in ATTRIBUTES)).worker()


def test_each_item_is_a_frame_with_its_number(worker):
    call = worker.call(3, flags=STREAM)
    items = [worker.frame() for _ in range(3)]
    assert [(f[0], f[1], f[2], f[3]) for f in items] == [(Kind.ITEM, 0, call, n) for n in range(3)]
    assert [json.loads(f[6]) for f in items] == [{"i": 0}, {"i": 1}, {"i": 2}]
    end = worker.frame()
    assert (end[0], end[2], end[6]) == (Kind.END, call, b"")


def test_without_items_there_is_only_the_end(worker):
    worker.call(0, flags=STREAM)
    assert worker.frame()[0] == Kind.END


def test_a_stream_stops_when_its_credit_is_spent_and_goes_on_with_more(worker):
    size = FIRST // 2
    call = worker.call(size, export=ENDLESS, flags=STREAM)
    # Quotes make an item larger than half: the second one overshoots, a third one may not be sent.
    assert [worker.frame()[0] for _ in range(2)] == [Kind.ITEM] * 2
    worker.wait_for_output("made 2")
    worker.settle()
    assert worker.silent_now()
    worker.aside(Kind.CREDIT, call, 3 * WEIGHT)
    assert worker.frame()[0] == Kind.ITEM
    worker.settle()
    assert worker.silent_now()
    worker.aside(Kind.CREDIT, call, 10 * size)
    assert [worker.frame()[0] for _ in range(5)] == [Kind.ITEM] * 5


def test_a_stream_that_waits_for_credit_ends_when_its_caller_leaves(worker):
    call = worker.call(FIRST, export=ENDLESS, flags=STREAM)
    assert worker.frame()[0] == Kind.ITEM
    worker.settle()
    worker.aside(Kind.CANCEL, call)
    worker.wait_for_output("closed")
    frame = worker.frame()
    assert (frame[0], frame[2]) == (Kind.CANCELLED, call)


def test_empty_items_have_their_weight_too(worker):
    worker.call(0, export=ENDLESS, flags=STREAM)
    sent = FIRST // (len('""') + WEIGHT)
    for _ in range(sent):
        assert worker.frame()[0] == Kind.ITEM
    worker.frame()
    worker.settle()
    assert worker.silent_now()


def test_credit_for_another_call_is_not_mistaken(worker):
    call = worker.call(FIRST, export=ENDLESS, flags=STREAM)
    assert worker.frame()[0] == Kind.ITEM
    worker.aside(Kind.CREDIT, call + 1, 2 * FIRST)
    worker.settle()
    assert worker.silent_now()


def test_what_fails_in_the_middle_is_an_error_behind_the_items(worker):
    worker.call(None, export=BREAKS, flags=STREAM)
    assert worker.frame()[0] == Kind.ITEM
    assert worker.error()["message"] == "in the middle"
    worker.call(None, export=ODD, flags=STREAM)
    assert worker.frame()[0] == Kind.ITEM
    fault = worker.error()
    assert (fault["kind"], fault["place"]) == ("result", "/1")


def test_bytes_are_pieces_for_who_takes_them(worker):
    worker.call(2, export=PARTS, flags=PIECES)
    pieces = [worker.frame() for _ in range(2)]
    assert [(f[0], f[1], f[6]) for f in pieces] == [
        (Kind.ITEM, OCTETS, b"\0\0\0"),
        (Kind.ITEM, OCTETS, b"\1\1\1"),
    ]
    assert worker.frame()[0] == Kind.END
    worker.call(None, export=MIXED, flags=PIECES)
    assert worker.frame()[0] == Kind.ITEM
    assert worker.error()["place"] == "/1"


def test_what_is_no_bytes_comes_whole_to_who_takes_pieces(worker):
    worker.call(2, flags=PIECES)
    frame = worker.frame()
    assert (frame[0], frame[1]) == (Kind.RESULT, LIST)
    assert json.loads(frame[6]) == [{"i": 0}, {"i": 1}]
    worker.call(0, flags=PIECES)
    assert worker.frame()[6] == b"[]"


def test_bytes_are_no_items_of_a_stream_of_json(worker):
    worker.call(1, export=PARTS, flags=STREAM)
    assert worker.error()["kind"] == "result"


def test_the_deadline_is_for_the_first_item(gateway):
    source = "import asyncio\nasync def run(v):\n    yield 1\n    await asyncio.sleep(0.3)\n    yield 2\n"
    worker = gateway(source, "run").worker()
    worker.call(None, flags=STREAM, deadline=150)
    assert [worker.frame()[0] for _ in range(3)] == [Kind.ITEM, Kind.ITEM, Kind.END]
    late = "import asyncio\nasync def run(v):\n    await asyncio.sleep(5)\n    yield 2\n"
    worker = gateway(late, "run").worker()
    worker.call(None, flags=STREAM, deadline=50)
    assert worker.error()["kind"] == "deadline"


def test_streams_of_one_loop_do_not_wait_for_each_other(gateway):
    worker = gateway(ASYNC, *ATTRIBUTES).worker()
    blocked = worker.call(FIRST, export=ENDLESS, flags=STREAM)
    assert worker.frame()[2] == blocked
    other = worker.call(2, flags=STREAM)
    assert [worker.frame()[2] for _ in range(3)] == [other] * 3
    whole = worker.call(1)
    assert worker.frame()[2] == whole


def test_a_plain_generator_of_an_async_handler_leaves_the_loop_to_others(gateway):
    source = "async def run(n):\n    return (i for i in range(n))\nasync def other(v):\n    return v\n"
    worker = gateway(source, "run", "other").worker()
    counting = worker.call(100_000, flags=STREAM)
    assert worker.frame()[2] == counting
    other = worker.call("now", export=1)
    before = 0
    while True:
        frame = worker.frame()
        if frame[2] == other:
            break
        before += 1
        assert frame[0] == Kind.ITEM
    assert before < 50_000, "it waited for the whole stream"
