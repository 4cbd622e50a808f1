"""A worker whose handlers are plain functions, over real sockets."""

from __future__ import annotations

import json

import pytest
from gateway import ECHO, GATE, beside, export

from pixell_runtime.frames import LIST, OCTETS, Kind, encode


def test_an_answer_is_the_handlers_result(gateway):
    worker = gateway(ECHO, "run").worker()
    for value in ({"x": [1, 2.5, None, True, "é"]}, [], "text", 0, None):
        assert worker.ask(value) == value


def test_the_bytes_of_an_answer_are_compact_utf8(gateway):
    worker = gateway(ECHO, "run").worker()
    worker.call({"é": [1, 2]})
    assert worker.frame()[6] == '{"é":[1,2]}'.encode()


def test_a_batch_is_answered_in_order(gateway):
    worker = gateway(ECHO, "run").worker()
    sent = worker.calls(list(range(500)))
    answers = worker.take(500)
    assert list(answers) == sent
    assert [json.loads(answers[call][6]) for call in sent] == list(range(500))


def test_a_call_that_arrives_in_pieces_is_one_call(gateway):
    worker = gateway(ECHO, "run").worker()
    data = encode(Kind.CALL, 0, 1, 0, 0, b'{"request_id":"r"}', b'{"x":1}')
    for byte in data:
        worker.main.sendall(bytes([byte]))
    assert worker.result() == {"x": 1}


def test_a_worker_says_when_it_has_nothing_to_do_and_while_a_handler_waits_it_has(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    worker.wait_until_it_rests()
    gate = tmp_path / "open"
    call = worker.call({"gate": str(gate)})
    worker.wait_for_output("waiting")
    assert not worker.rests()
    gate.touch()
    worker.frame()
    worker.wait_until_it_rests()
    assert worker.journal_image()[0] == call


def test_inputs_and_results_of_megabytes_pass(gateway):
    worker = gateway(ECHO, "run").worker()
    value = {"text": "x" * 5_000_000}
    assert worker.ask(value) == value
    assert worker.ask({"x": 1}) == {"x": 1}


def test_an_empty_input_is_an_object(gateway):
    worker = gateway(ECHO, "run").worker()
    assert worker.ask(b"") == {}
    assert worker.ask(b" [1] ") == [1]


@pytest.mark.parametrize("text", [b"{", b"[1] x", b"NaN", b"\xff", b"[" * 100_000])
def test_an_input_that_is_not_json_is_refused(gateway, text):
    worker = gateway(ECHO, "run").worker()
    worker.call(text)
    assert worker.error()["kind"] == "input"
    assert worker.ask(1) == 1


def test_an_exception_is_an_agent_error_with_the_agents_own_frames(gateway):
    source = "def inner():\n    raise ValueError('boom')\ndef run(value):\n    inner()\n"
    worker = gateway(source, "run").worker()
    worker.call({})
    error = worker.error()
    assert (error["kind"], error["type"], error["message"]) == ("agent", "ValueError", "boom")
    assert "in inner" in error["traceback"] and "blocking.py" not in error["traceback"]
    assert worker.gateway.process.poll() is None


def test_a_type_error_inside_a_handler_is_the_handlers_own(gateway):
    worker = gateway("def run(a, b):\n    return len(5)\n", "run").worker()
    worker.call({"a": 1, "b": 2})
    assert worker.error()["kind"] == "agent"
    worker.call({"a": 1})
    error = worker.error()
    assert error["kind"] == "input" and error["errors"] == [
        {"path": "/b", "message": "required argument is missing"}
    ]


def test_an_exception_whose_text_fails_is_still_an_answer(gateway):
    source = (
        "class Bad(Exception):\n    def __str__(self):\n        raise RuntimeError('no')\n"
        "def run(value):\n    raise Bad()\n"
    )
    worker = gateway(source, "run").worker()
    worker.call({})
    assert worker.error()["type"] == "main.Bad"


def test_long_messages_and_tracebacks_are_bounded(gateway):
    source = "def run(n):\n    if n: run(n - 1)\n    raise ValueError('x' * 1_000_000)\n"
    worker = gateway(source, "run").worker()
    worker.call(50)
    frame = worker.frame()
    error = json.loads(frame[6])
    assert len(error["message"]) == 8192 and len(error["traceback"].encode()) <= 32 * 1024


def test_a_result_that_cannot_be_json_names_its_place(gateway):
    worker = gateway("def run(value):\n    return {'a': [1, {'b/c': float('nan')}]}\n", "run").worker()
    worker.call({})
    error = worker.error()
    assert (error["kind"], error["place"]) == ("result", "/a/1/b~1c")


def test_bytes_are_octets(gateway):
    worker = gateway("def run(value):\n    return b'\\x00\\xff'\n", "run").worker()
    worker.call({})
    frame = worker.frame()
    assert (frame[0], frame[1], frame[6]) == (Kind.RESULT, OCTETS, b"\x00\xff")
    assert beside(frame) == {"content_type": "application/octet-stream"}


def test_a_generator_is_a_list_of_its_items(gateway):
    worker = gateway("def run(n):\n    for i in range(n):\n        yield {'i': i}\n", "run").worker()
    worker.call(3)
    frame = worker.frame()
    assert frame[1] == LIST and json.loads(frame[6]) == [{"i": 0}, {"i": 1}, {"i": 2}]


def test_a_bad_item_names_its_index(gateway):
    worker = gateway("def run(n):\n    yield 1\n    yield {'x': {1, object}}\n", "run").worker()
    worker.call({})
    assert worker.error()["place"].startswith("/1/x")


def test_a_plain_function_may_return_something_to_await(gateway):
    source = (
        "import asyncio\nasync def inner(v):\n    await asyncio.sleep(0)\n    return v\n"
        "async def items():\n    yield 1\n    yield 2\n"
        "def run(value):\n    return items() if value == 'items' else inner(value)\n"
    )
    worker = gateway(source, "run").worker()
    assert worker.ask({"x": 1}) == {"x": 1}
    assert worker.ask("items") == [1, 2]
    assert worker.ask(2) == 2


def test_a_class_is_instantiated_once(gateway):
    source = (
        "class Agent:\n    made = 0\n    def __init__(self):\n        Agent.made += 1\n"
        "    def invoke(self, value):\n        return Agent.made\n"
    )
    worker = gateway(source, "Agent").worker()
    assert [worker.ask({}), worker.ask({})] == [1, 1]


def test_a_context_says_who_called(gateway):
    source = (
        "from pixell_runtime import context\n"
        "def run(value, context):\n"
        "    context.session.state['n'] = context.session.state.get('n', 0) + 1\n"
        "    return [context.request_id, context.session.id, context.session.state, context.caller,\n"
        "            0 < context.remaining <= 30, context.agent_id, context.version, context.traceparent]\n"
        "def ask():\n    return context.current().request_id\n"
    )
    worker = gateway(source, "run", "ask").worker()
    meta = {
        "request_id": "r-1",
        "session": {"id": "s", "key": 7},
        "caller": {"sub": "me"},
        "traceparent": "00-1",
    }
    for n in (1, 2):
        answer = worker.ask({}, meta=meta, deadline=30_000)
        assert answer == ["r-1", "s", {"n": n}, {"sub": "me"}, True, "test@1.0.0/run", "1.0.0", "00-1"]
    assert worker.ask({}, export=1, meta={"request_id": "r-2"}) == "r-2"


def test_usage_travels_with_its_own_call(gateway):
    source = (
        "from pixell_runtime import usage\n"
        "def run(n):\n"
        "    for _ in range(n):\n"
        "        usage.record(model='m', input_tokens=2, output_tokens=3)\n"
        "    return n\n"
        "def fail(n):\n    usage.record(model='m', input_tokens=7)\n    raise ValueError\n"
    )
    worker = gateway(source, "run", "fail").worker()
    worker.calls([2, 0])
    spent, free = worker.frame(), worker.frame()
    assert beside(spent) == {"usage": [{"model": "m", "input_tokens": 4, "output_tokens": 6}]}
    assert beside(free) == {}
    worker.call(1, export=1)
    failed = worker.frame()
    assert failed[0] == Kind.ERROR and json.loads(failed[5])["usage"][0]["input_tokens"] == 7


def test_a_call_after_its_deadline_does_not_start(gateway, tmp_path):
    worker = gateway(GATE + "\ndef nap(v):\n    time.sleep(0.02)\n", "run", "nap").worker()
    worker.main.sendall(encode(Kind.CALL, 0, 1, 1, 0, b"", b"{}") + encode(Kind.CALL, 0, 2, 0, 5, b"", b"{}"))
    assert worker.result() is None
    assert worker.error()["kind"] == "deadline"


# What happens beside the running call


def test_recall_gives_back_what_has_not_started_and_nothing_ends_twice(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    gate = tmp_path / "gate"
    first = worker.calls([{"n": 0}, {"gate": str(gate)}, *range(20)])
    worker.wait_for_output("waiting")
    later = worker.calls(list(range(20)))  # these are still unread in the socket
    worker.aside(Kind.RECALL)
    early = worker.take(1 + 20 + 20)
    assert early[first[0]][0] == Kind.RESULT, "a finished answer does not wait for the running call"
    assert {early[call][0] for call in first[2:] + later} == {Kind.RETURNED}
    gate.touch()
    assert worker.frame()[2] == first[1]
    assert worker.ask({"after": 1}) == {"after": 1}
    assert worker.silent_now()


def test_recall_of_an_idle_worker_takes_nothing_from_the_next_call(gateway):
    worker = gateway(ECHO, "run").worker()
    for n in range(20):
        worker.aside(Kind.RECALL)
        worker.call(n)
        kind = worker.frame()[0]
        assert kind in (Kind.RESULT, Kind.RETURNED)
    worker.settle()
    assert worker.ask(1) == 1


def test_under_recalls_every_call_ends_exactly_once(gateway):
    worker = gateway("import time\ndef run(v):\n    time.sleep(v)\n    return 1\n", "run").worker()
    sent = 0
    for _ in range(60):
        sent += len(worker.calls([0.0002] * 8))
        worker.aside(Kind.RECALL)
    kinds = [frame[0] for frame in worker.take(sent).values()]
    assert set(kinds) <= {Kind.RESULT, Kind.RETURNED} and Kind.RESULT in kinds
    worker.aside(Kind.STOP)
    assert worker.status() == 0 and worker.silent()


def test_cancel_ends_a_call_that_has_not_started(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    gate = tmp_path / "gate"
    running, waiting, other = worker.calls([{"gate": str(gate)}, 1, 2])
    worker.wait_for_output("waiting")
    unread = worker.call(3)
    for call in (running, waiting, unread, 4711):
        worker.aside(Kind.CANCEL, call)
    cancelled = worker.take(2)
    assert {call: frame[0] for call, frame in cancelled.items()} == {
        waiting: Kind.CANCELLED,
        unread: Kind.CANCELLED,
    }
    gate.touch()
    rest = worker.take(2)
    assert {call: frame[0] for call, frame in rest.items()} == {running: Kind.RESULT, other: Kind.RESULT}


def test_a_cancelled_generator_is_closed_at_its_next_item(gateway, tmp_path):
    source = GATE + (
        "\ndef items(gate):\n    try:\n        for n in range(10):\n            run({'gate': gate})\n"
        "            yield n\n    finally:\n        print('closed', flush=True)\n"
    )
    worker = gateway(source, "items").worker()
    gate = tmp_path / "gate"
    call = worker.call(str(gate))
    worker.wait_for_output("waiting")
    worker.aside(Kind.CANCEL, call)
    worker.aside(Kind.CANCEL, 4711)  # when this has been read, so has the one before
    worker.settle()
    gate.touch()
    assert worker.frame()[0] == Kind.CANCELLED
    worker.wait_for_output("closed")


def test_stop_finishes_what_was_received(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    gate = tmp_path / "gate"
    sent = worker.calls([{"gate": str(gate)}, 1, 2])
    worker.wait_for_output("waiting")
    sent += worker.calls([3])
    worker.aside(Kind.STOP)
    gate.touch()
    assert {frame[0] for frame in worker.take(len(sent)).values()} == {Kind.RESULT}
    assert worker.status() == 0


def test_stop_ends_an_idle_worker(gateway):
    worker = gateway(ECHO, "run").worker()
    worker.aside(Kind.STOP)
    assert worker.status() == 0


def test_the_end_of_main_ends_the_worker(gateway):
    worker = gateway(ECHO, "run").worker()
    worker.main.close()
    assert worker.status() == 0


def test_the_end_of_side_ends_a_worker_that_is_stuck(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    worker.call({"gate": str(tmp_path / "never")})
    worker.wait_for_output("waiting")
    worker.side.close()
    assert worker.status() == 0


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 24, encode(Kind.READY), encode(Kind.CALL, 0, 1, 7, 0, b"", b"{}")],
    ids=["garbage", "a kind of the other direction", "an export that does not exist"],
)
def test_a_broken_frame_ends_the_worker(gateway, data):
    worker = gateway(ECHO, "run").worker()
    worker.main.sendall(data)
    assert worker.status() == 70


def test_prints_arrive_line_by_line_on_the_workers_own_pipes(gateway):
    source = (
        "import sys\ndef run(v):\n    print('out', v)\n    print('err', v, file=sys.stderr)\n    return v\n"
    )
    worker = gateway(source, "run").worker()
    worker.ask(1)
    assert worker.output() == "out 1\n" and worker.errors() == "err 1\n"
    assert worker.gateway.template_output() == ""


def test_exports_are_called_by_index(gateway):
    source = "def a():\n    return 'a'\nclass B:\n    def __call__(self, v):\n        return 'b'\nb = B()\n"
    worker = gateway(source, "a", export("b", "second")).worker()
    assert [worker.ask({}, export=0), worker.ask({}, export=1)] == ["a", "b"]
