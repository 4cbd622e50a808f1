"""Callers that leave at the worst moment: just when their call is taken, or right behind it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gateway import Kind, export

from pixell_runtime import blocking
from pixell_runtime.blocking import Blocking
from pixell_runtime.context import SLOT
from pixell_runtime.frames import CANCELLED, RESULT, STREAM

PLAIN = """
from pixell_runtime import usage

def endless(_):
    while True:
        yield 1

def costs(_):
    usage.record(model="m", input_tokens=7)
    while True:
        yield 1

def fails(_):
    usage.record(model="m", input_tokens=7)
    raise ValueError("on purpose")
"""


@pytest.fixture(params=["plain", "async", "threads"])
def worker(request, gateway):
    source = PLAIN.replace("def ", "async def ") if request.param == "async" else PLAIN
    threads = 2 if request.param == "threads" else 1
    return gateway(
        source, *(export(name, threads=threads) for name in ("endless", "costs", "fails"))
    ).worker()


def ending(worker) -> tuple[Any, ...]:
    """The next frame that ends a call."""
    while True:
        frame = worker.frame()
        if frame[0] != Kind.ITEM:
            return frame


def test_no_cancel_is_lost_however_close_it_follows_its_call(worker):
    for _ in range(200):
        call = worker.call({}, flags=STREAM)
        worker.aside(Kind.CANCEL, call)
        frame = ending(worker)
        assert (frame[0], frame[2]) == (Kind.CANCELLED, call)


def test_what_a_call_has_used_is_told_also_if_it_is_cancelled_or_fails(worker):
    call = worker.call({}, export=1, flags=STREAM)
    assert worker.frame()[0] == Kind.ITEM
    worker.aside(Kind.CANCEL, call)
    cancelled = ending(worker)
    worker.call({}, export=2)
    failed = ending(worker)
    assert [cancelled[0], failed[0]] == [Kind.CANCELLED, Kind.ERROR]
    used = {"usage": [{"model": "m", "input_tokens": 7, "output_tokens": 0}]}
    assert [json.loads(cancelled[5]), json.loads(failed[5])] == [used, used]


class Over(Exception):
    """The loop has nothing left to do."""


class Scripted:
    """A channel whose calls are cancelled at a moment of the test's choice, as by the monitor."""

    def __init__(self, count: int) -> None:
        self.journal = SimpleNamespace(words=[0, 0])
        self.calls: deque[tuple[Any, ...]] = Watched(self, count)
        self.ended: list[tuple[int, int]] = []
        self.cancel: Any = None

    def taken(self, call: int) -> None:
        """The loop has taken a call, and nobody can see that yet."""
        monitor = threading.Thread(target=self.cancel, args=(call,))
        monitor.start()
        monitor.join()

    def drain(self) -> bool:
        return True

    def take_back(self, ident: int) -> bool:
        return any(frame[2] == ident for frame in self.calls)

    def receive(self) -> bool:
        return False

    def add(self, kind: int, flags: int, call: int, a: int, meta: bytes, payload: bytes, b: int = 0) -> None:
        self.ended.append((kind, call))

    def flush(self) -> None:
        """Everything is written already."""


class Watched(deque):  # type: ignore[type-arg]
    """Says when a call is taken out."""

    def __init__(self, channel: Scripted, count: int) -> None:
        super().__init__((Kind.CALL, 0, number, 0, 0, b"", b"1", 0) for number in range(1, count + 1))
        self._channel = channel

    def popleft(self) -> Any:
        frame = super().popleft()
        self._channel.taken(frame[2])
        return frame


@pytest.fixture
def slot() -> Iterator[None]:
    yield
    SLOT.frame = None
    SLOT.cancelled.clear()


def test_a_cancel_between_the_taking_of_a_call_and_its_start_is_not_lost(slot, monkeypatch):
    def over(*_: Any) -> None:
        raise Over

    monkeypatch.setattr(blocking, "leave", over)
    ran: list[int] = []
    channel = Scripted(4)
    handler = SimpleNamespace(invoke=ran.append)
    worker = Blocking([handler], channel)  # type: ignore[list-item,arg-type]
    channel.cancel = lambda call: worker.cancel(call) if call in (2, 4) else None
    with pytest.raises(Over):
        worker.run()
    assert channel.ended == [(RESULT, 1), (CANCELLED, 2), (RESULT, 3), (CANCELLED, 4)]
    assert len(ran) == 2
    assert SLOT.cancelled == {4}, "those of calls that are over are forgotten"


def test_a_late_cancel_of_another_call_does_not_undo_an_earlier_one(slot):
    channel = Scripted(0)
    worker = Blocking([], channel)  # type: ignore[arg-type]
    for ident in (5, 4, 6):
        worker.cancel(ident)
    assert 5 in SLOT.cancelled
