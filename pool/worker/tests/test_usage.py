"""What calls have used, told before they end: it outlives the process."""

from __future__ import annotations

import json

import pytest
from gateway import Kind, export

SOURCE = """
import os, time
from pixell_runtime import usage

def dies(n):
    usage.record(model="m", input_tokens=n)
    time.sleep(0.02)
    usage.record(model="m", output_tokens=5)
    usage.record(model="k", input_tokens=1)
    os._exit(9)

def loops(n):
    for _ in range(n):
        usage.record(model="m", input_tokens=1)
    return n

def forks(n):
    child = os.fork()
    if child == 0:
        usage.record(model="m", input_tokens=n)
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
ASYNC = "\n".join(line.replace("def ", "async def ") for line in SOURCE.splitlines())
DIES, LOOPS, FORKS = range(3)


@pytest.fixture(params=["plain", "async", "threads"])
def worker(request, gateway):
    threads = 2 if request.param == "threads" else 1
    source = ASYNC if request.param == "async" else SOURCE
    return gateway(source, *(export(name, threads=threads) for name in ("dies", "loops", "forks"))).worker()


def sums(frame):
    return {
        one["model"]: (one["input_tokens"], one["output_tokens"]) for one in json.loads(frame[5])["usage"]
    }


def test_what_was_reported_survives_the_worker(worker):
    call = worker.call(7, export=DIES)
    assert worker.status() == 9
    used = [frame for frame in (*worker.rest(), *worker.journal_image()[1]) if frame[0] == Kind.USED]
    assert {frame[2] for frame in used} == {call}
    assert [sums(frame) for frame in used] == [{"m": (7, 0)}, {"m": (7, 5)}]


def test_who_reports_in_a_loop_is_not_told_each_time(worker):
    worker.call(20_000, export=LOOPS)
    ended = worker.frame()
    assert sums(ended) == {"m": (20_000, 0)}
    assert 1 <= len(worker.used) < 1000
    assert sums(worker.used[0]) == {"m": (1, 0)}


def test_a_process_that_a_handler_has_forked_tells_nothing(worker):
    worker.call(3, export=FORKS)
    assert json.loads(worker.frame()[6]) == 7
    assert worker.used == []
