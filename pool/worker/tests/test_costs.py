"""What a call's answer tells of its cost."""

from __future__ import annotations

import json

import pytest
from gateway import ECHO, export

SPIN = """
import time

def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

def sleep(seconds):
    time.sleep(seconds)

def fail(seconds):
    spin(seconds)
    raise ValueError("x")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_that_computes_is_told_from_one_that_waits(gateway, threads):
    worker = gateway(SPIN, *(export(name, threads=threads) for name in ("spin", "sleep", "fail"))).worker()
    costs = []
    for index in range(3):
        worker.call(0.06, export=index)
        frame = worker.frame()
        costs.append(frame[4])
        assert frame[3] >= 60_000
        assert json.loads(frame[5])["peak_rss_kb"] > 1000
    assert costs[0] > 10_000
    assert costs[1] < 10_000
    assert costs[2] > 10_000


def test_a_short_call_costs_what_it_took_and_tells_no_memory(gateway):
    worker = gateway(ECHO, "run").worker()
    for _ in range(3):
        worker.call(1)
        frame = worker.frame()
        if frame[3] < 10_000:
            assert frame[5] == b""
        if frame[3] < 150:
            assert frame[4] == frame[3]
