"""A worker that serves several calls at once: async handlers, and plain ones on threads."""

from __future__ import annotations

import json
import time

from gateway import export

from pixell_runtime.frames import LIST, Kind, encode

SOURCE = """
import asyncio, os, sys, threading, time
from pixell_runtime import context, usage

async def echo(value): return value
async def nap(seconds):
    await asyncio.sleep(seconds)
    return seconds
async def stubborn(value):
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "late"
async def wait(value):
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("ended", flush=True)
async def items(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
async def fail(value): raise ValueError("boom")
async def leave(code): sys.exit(code)
async def cancel_itself(value): raise asyncio.CancelledError
async def who(value, context):
    await asyncio.sleep(0.001)
    usage.record(model="m", input_tokens=value)
    return context.request_id
async def timed(value):
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.001)
    except asyncio.TimeoutError:
        return "timed out"
async def block(gate):
    print("waiting", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.002)

def plain(value): return value
def run_async(value):
    async def inner():
        await asyncio.sleep(0)
        return value
    return asyncio.run(inner())
def thread(value):
    try:
        asyncio.get_running_loop()
        return "a loop runs here"
    except RuntimeError:
        return threading.current_thread().name
def gate(path):
    print("waiting", flush=True)
    while not os.path.exists(path):
        time.sleep(0.002)
    return context.current().request_id
def coroutine(value): return echo(value)
def die(code): sys.exit(code)
def fork(value):
    pid = os.fork()
    if pid == 0: return "child"
    os.waitpid(pid, 0)
    return "parent"
async def fork_async(value): return fork(value)
"""


def start(gateway, *attributes, threads=1):
    return gateway(SOURCE, *(export(name, threads=threads) for name in attributes)).worker()


def test_five_hundred_calls_sleep_at_once(gateway):
    worker = start(gateway, "nap")
    began = time.monotonic()
    worker.calls([0.3] * 500)
    answers = worker.take(500)
    assert {frame[0] for frame in answers.values()} == {Kind.RESULT}
    assert time.monotonic() - began < 5


def test_async_answers_are_results_errors_and_lists(gateway):
    worker = start(gateway, "echo", "fail", "items", "cancel_itself", "timed")
    assert worker.ask({"x": 1}) == {"x": 1}
    worker.call({}, export=1)
    error = worker.error()
    assert error["type"] == "ValueError" and "looping.py" not in error["traceback"]
    worker.call(3, export=2)
    frame = worker.frame()
    assert frame[1] == LIST and json.loads(frame[6]) == [0, 1, 2]
    worker.call({}, export=3)
    assert worker.error()["type"].endswith("CancelledError")
    assert worker.ask({}, export=4) == "timed out"
    worker.call(b"{")
    assert worker.error()["kind"] == "input"


def test_each_call_has_its_own_context_and_usage(gateway):
    worker = start(gateway, "who")
    for n in range(20):
        worker.call(n, meta={"request_id": f"r-{n}"})
    for call, frame in worker.take(20).items():
        assert json.loads(frame[6]) == f"r-{call - 1}"
        assert json.loads(frame[5])["usage"][0]["input_tokens"] == call - 1


def test_plain_handlers_run_on_a_thread_without_a_loop(gateway):
    worker = start(gateway, "echo", "thread", "run_async", "plain", "coroutine")
    assert worker.ask(1, export=1) == "pixell-handler-0"
    assert worker.ask({"x": 1}, export=2) == {"x": 1}
    assert worker.ask([1], export=3) == [1]
    assert worker.ask([2], export=4) == [2]


def test_threads_let_plain_handlers_run_beside_each_other(gateway, tmp_path):
    worker = start(gateway, "gate", threads=4)
    path = tmp_path / "gate"
    sent = [worker.call(str(path), meta={"request_id": f"r-{n}"}) for n in range(4)]
    seen = ""
    while seen.count("waiting") < 4:
        seen += worker.wait_for_output("waiting")
    path.touch()
    answers = worker.take(4)
    assert {call: json.loads(frame[6]) for call, frame in answers.items()} == {
        call: f"r-{n}" for n, call in enumerate(sent)
    }


def test_cancel_ends_an_async_call(gateway):
    worker = start(gateway, "wait", "stubborn", "echo")
    for index in (0, 1):
        call = worker.call({}, export=index)
        worker.wait_for_output("waiting")
        worker.aside(Kind.CANCEL, call)
        frame = worker.frame()
        assert (frame[0], frame[2]) == (Kind.CANCELLED, call), "also if a result came after all"
    assert worker.ask(5, export=2) == 5


def test_calls_that_are_cancelled_at_once_still_end_once(gateway):
    worker = start(gateway, "nap")
    sent = worker.calls([0.05] * 50)
    for call in sent:
        worker.aside(Kind.CANCEL, call)
    kinds = {frame[0] for frame in worker.take(50).values()}
    assert kinds <= {Kind.CANCELLED, Kind.RESULT}
    assert worker.ask(0) == 0


def test_a_deadline_cancels_an_async_call(gateway):
    worker = start(gateway, "wait", "stubborn", "echo")
    worker.call({}, export=0, deadline=20)
    assert worker.error()["kind"] == "deadline"
    worker.call({}, export=1, deadline=20)
    assert worker.error()["kind"] == "deadline"
    assert worker.ask(1, export=2, deadline=5000) == 1


def test_recall_gives_back_what_waits_for_a_thread(gateway, tmp_path):
    worker = start(gateway, "gate", "echo")
    path = tmp_path / "gate"
    running = worker.call(str(path), meta={"request_id": "r"})
    worker.wait_for_output("waiting")
    waiting = worker.calls([str(path)] * 5)
    assert worker.ask(1, export=1) == 1
    worker.aside(Kind.RECALL)
    returned = worker.take(5)
    assert sorted(returned) == waiting and {f[0] for f in returned.values()} == {Kind.RETURNED}
    path.touch()
    assert worker.frame()[2] == running


def test_recall_and_cancel_reach_what_a_blocked_loop_has_not_read(gateway, tmp_path):
    worker = start(gateway, "block", "echo")
    path = tmp_path / "gate"
    worker.call(str(path))
    worker.wait_for_output("waiting")
    cancelled, kept = worker.calls([1, 2], export=1)
    worker.aside(Kind.CANCEL, cancelled)
    frame = worker.frame()
    assert (frame[0], frame[2]) == (Kind.CANCELLED, cancelled)
    worker.aside(Kind.RECALL)
    frame = worker.frame()
    assert (frame[0], frame[2]) == (Kind.RETURNED, kept)
    again = worker.calls([3, 4], export=1)
    worker.aside(Kind.CANCEL, again[0])
    assert worker.frame()[2] == again[0]
    path.touch()
    assert set(worker.take(2)) == {1, again[1]}, "what was read for a cancel is served later"


def test_stop_finishes_tasks_and_threads(gateway, tmp_path):
    worker = start(gateway, "nap", "gate")
    path = tmp_path / "gate"
    sent = worker.calls([0.05] * 3) + worker.calls([str(path)] * 2, export=1, meta={"request_id": "r"})
    worker.wait_for_output("waiting")
    worker.aside(Kind.STOP)
    path.touch()
    assert sorted(worker.take(5)) == sent
    assert worker.status() == 0


def test_stop_and_the_ends_of_sockets_end_an_idle_loop(gateway):
    running = gateway(SOURCE, "echo")
    running.ready()
    for end in (lambda w: w.aside(Kind.STOP), lambda w: w.main.close(), lambda w: w.side.close()):
        worker = running.fork()
        worker.ready()
        end(worker)
        assert worker.status() == 0


def test_sys_exit_ends_the_worker_from_a_task_and_from_a_thread(gateway):
    running = gateway(SOURCE, "leave", "die")
    running.ready()
    for index in (0, 1):
        worker = running.fork()
        worker.ready()
        worker.call(5, export=index)
        assert worker.status() == 5 and worker.silent()


def test_children_forked_by_handlers_answer_nothing(gateway):
    worker = start(gateway, "fork", "fork_async")
    assert worker.ask(1, export=0) == "parent"
    assert worker.ask(1, export=1) == "parent"
    assert worker.ask(1, export=0) == "parent"


def test_a_worker_says_when_it_has_nothing_to_do_whatever_its_handlers_are(gateway, tmp_path):
    worker = start(gateway, "wait", "gate")
    worker.wait_until_it_rests()
    gate = tmp_path / "open"
    call = worker.call(str(gate), export=1)
    worker.wait_for_output("waiting")
    assert not worker.rests()
    gate.touch()
    worker.frame()
    worker.wait_until_it_rests()
    assert worker.journal_image()[0] == call
    worker.ask(str(gate), export=1)
    worker.wait_until_it_rests()
    assert worker.journal_image()[0] == call + 1


def test_started_is_the_greatest_id_that_has_started(gateway, tmp_path):
    worker = start(gateway, "wait", "gate")
    worker.calls([{}] * 3)
    worker.wait_for_output("waiting")
    last = worker.call(str(tmp_path / "never"), export=1)
    worker.wait_for_output("waiting")
    deadline = time.monotonic() + 5
    while worker.journal_image()[0] != last and time.monotonic() < deadline:
        time.sleep(0.002)
    assert worker.journal_image()[0] == last
    worker.side.close()
    assert worker.status() == 0


def test_a_broken_frame_ends_a_looping_worker(gateway):
    worker = start(gateway, "echo")
    worker.main.sendall(encode(Kind.STOP))
    assert worker.status() == 70


def test_an_async_hook_runs_on_the_workers_own_loop(gateway):
    source = (
        "import asyncio\nloops = []\n"
        "async def on_worker_start():\n    loops.append(asyncio.get_running_loop())\n"
        "async def run():\n    return loops[0] is asyncio.get_running_loop()\n"
    )
    assert gateway(source, "run").worker().ask({}) is True
