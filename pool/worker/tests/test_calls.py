"""Handlers call other agents: what they send, and what they make of the answers."""

from __future__ import annotations

import json

import pytest
from gateway import Kind, encode, export

from pixell_runtime.credit import WEIGHT
from pixell_runtime.frames import ON_MAIN, REPLY_FAILED, REPLY_ITEM, REPLY_OCTETS, STREAM

PLAIN = """
from pixell_runtime import errors, runtime

def ask(value):
    return {"got": runtime.call("other/agent", value=value)}

def caught(_):
    try:
        return runtime.call("other")
    except errors.CallFailed as error:
        return [error.code, error.detail, error.error, error.errors, error.retry_after]

def follow(limit):
    seen = []
    for item in runtime.stream("other", n=1):
        seen.append(item)
        if len(seen) == limit:
            break
    return seen

def wrong(_):
    return runtime.call("other", what=object())
"""
ASYNC = (
    PLAIN.replace("def ", "async def ")
    .replace("runtime.call(", "await runtime.acall(")
    .replace("for item in runtime.stream(", "async for item in runtime.astream(")
)
ATTRIBUTES = ("ask", "caught", "follow", "wrong")
ASK, CAUGHT, FOLLOW, WRONG = range(4)


@pytest.fixture(params=["plain", "async", "threads"])
def lane(request):
    return request.param


@pytest.fixture
def worker(lane, gateway):
    threads = 2 if lane == "threads" else 1
    source = ASYNC if lane == "async" else PLAIN
    return gateway(source, *(export(name, threads=threads) for name in ATTRIBUTES)).worker()


def reply(worker, ident, flags, payload, *, on_main=False):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (worker.main if on_main else worker.side).sendall(encode(Kind.REPLY, flags, ident, payload=body))


def answer(worker, invoke, flags, payload):
    """Answers where the worker has asked for it."""
    reply(worker, invoke[2], flags, payload, on_main=bool(invoke[1] & ON_MAIN))


def test_a_call_names_its_agent_and_the_call_it_is_made_in(worker, lane):
    call = worker.call(7)
    invoke = worker.frame()
    kind, flags, ident, _, _, meta, payload, _ = invoke
    # A thread of the pool does not read the main socket.
    assert (kind, flags, ident >> 63) == (Kind.INVOKE, 0 if lane == "threads" else ON_MAIN, 1)
    assert json.loads(meta) == {"agent_id": "other/agent", "parent": call}
    assert json.loads(payload) == {"value": 7}
    answer(worker, invoke, 0, [1, 2])
    assert worker.result() == {"got": [1, 2]}


def test_calls_that_come_before_the_answer_are_served_after_it(worker):
    first = worker.call(1)
    invoke = worker.frame()
    worker.calls([2, 3])
    worker.settle()
    answer(worker, invoke, 0, "a")
    seen = []
    while len(seen) < 3:
        frame = worker.frame()
        if frame[0] == Kind.INVOKE:
            answer(worker, frame, 0, json.loads(frame[6])["value"])
        else:
            seen.append((frame[2], json.loads(frame[6])["got"]))
    assert sorted(seen) == [(first, "a"), (first + 1, 2), (first + 2, 3)]


def test_who_waits_for_an_answer_gives_others_back(gateway):
    worker = gateway(PLAIN, *ATTRIBUTES).worker()
    worker.call(1)
    invoke = worker.frame()
    second, third = worker.calls([2, 3])
    worker.settle()
    worker.aside(Kind.RECALL)
    assert {frame[0] for frame in worker.take(2).values()} == {Kind.RETURNED}
    assert invoke[1] == ON_MAIN and {second, third} == {2, 3}
    answer(worker, invoke, 0, "mine")
    assert worker.result() == {"got": "mine"}


def test_who_waits_for_an_answer_gets_it_though_the_worker_is_to_stop(worker):
    worker.call(1)
    invoke = worker.frame()
    worker.aside(Kind.STOP)
    worker.settle()
    answer(worker, invoke, 0, "last")
    assert worker.result() == {"got": "last"}
    assert worker.status() == 0


def test_an_answer_that_nobody_waits_for_is_nothing(gateway):
    worker = gateway(ASYNC, *ATTRIBUTES).worker()
    call = worker.call(7)
    invoke = worker.frame()
    worker.aside(Kind.CANCEL, call)
    worker.take(2)
    answer(worker, invoke, 0, "late")
    worker.call(8)
    answer(worker, worker.frame(), 0, "ours")
    assert worker.result() == {"got": "ours"}


def test_bytes_are_bytes(worker):
    worker.call(7, export=CAUGHT)
    answer(worker, worker.frame(), REPLY_OCTETS, b"\0\1")
    assert worker.frame()[6] == b"\0\1"


def test_what_fails_is_an_error_with_its_code(worker):
    worker.call(None, export=CAUGHT)
    said = {
        "code": "agent_error",
        "detail": "it raised",
        "error": {"type": "E", "message": "m"},
        "retry_after": 2,
    }
    answer(worker, worker.frame(), REPLY_FAILED, said)
    assert worker.result() == ["agent_error", "it raised", {"type": "E", "message": "m"}, None, 2]
    worker.call(1)
    answer(worker, worker.frame(), REPLY_FAILED, {"code": "agent_not_found", "detail": "no such agent"})
    fault = worker.error()
    assert (fault["kind"], fault["message"]) == ("agent", "agent_not_found: no such agent")


def test_items_come_as_they_are_sent_and_are_credited(worker):
    worker.call(5, export=FOLLOW)
    invoke = worker.frame()
    assert invoke[1] == STREAM
    text = "x" * 40_000
    for _ in range(2):
        answer(worker, invoke, REPLY_ITEM, text)
    credit = worker.frame()
    assert (credit[0], credit[2], credit[3]) == (Kind.CONSUMED, invoke[2], 2 * (len(text) + 2 + WEIGHT))
    answer(worker, invoke, 0, b"")
    assert worker.result() == [text, text]


def test_who_needs_no_more_says_so(worker):
    worker.call(1, export=FOLLOW)
    invoke = worker.frame()
    answer(worker, invoke, REPLY_ITEM, 1)
    # An async iterator that is left in the middle is closed by its loop, a little later.
    frames = {frame[0]: frame for frame in (worker.frame(), worker.frame())}
    assert frames[Kind.CONSUMED][1:3] == (1, invoke[2])
    assert json.loads(frames[Kind.RESULT][6]) == [1]


def test_a_result_that_is_no_stream_is_one_item(worker):
    worker.call(5, export=FOLLOW)
    answer(worker, worker.frame(), 0, {"whole": True})
    assert worker.result() == [{"whole": True}]


def test_arguments_that_are_no_json_are_not_sent(worker):
    worker.call(None, export=WRONG)
    assert worker.error()["kind"] == "agent"


def test_a_task_that_is_cancelled_takes_its_call_with_it(gateway):
    worker = gateway(ASYNC, *ATTRIBUTES).worker()
    call = worker.call(7)
    invoke = worker.frame()
    worker.aside(Kind.CANCEL, call)
    frames = {frame[0]: frame for frame in (worker.frame(), worker.frame())}
    assert frames[Kind.CONSUMED][1:3] == (1, invoke[2])
    assert frames[Kind.CANCELLED][2] == call


def test_many_calls_at_once_get_their_own_answers(gateway):
    worker = gateway(ASYNC, *ATTRIBUTES).worker()
    worker.calls(list(range(50)))
    invokes = [worker.frame() for _ in range(50)]
    for invoke in reversed(invokes):
        answer(worker, invoke, 0, json.loads(invoke[6])["value"] * 2)
    results = {frame[2]: json.loads(frame[6])["got"] for frame in worker.take(50).values()}
    assert results == {call: (call - 1) * 2 for call in range(1, 51)}


def test_nobody_calls_outside_of_a_call(gateway):
    source = "from pixell_runtime import runtime\ndef on_worker_start():\n    runtime.call('a')\ndef run(v): return v\n"
    running = gateway(source, "run")
    running.ready()
    frame = running.fork().frame()
    assert frame[0] == Kind.FAILED
    assert json.loads(frame[6])["type"].endswith("RuntimeUnavailable")
