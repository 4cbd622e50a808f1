"""The asynchronous wait of the bench: the same for PAR and its peers, and as long as it says."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench"
PEERS = BENCH / "peers" / "waits.py"


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("waits", PEERS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_par_and_its_peers_wait_by_the_same_code() -> None:
    assert (BENCH / "agents" / "awaited" / "waits.py").read_bytes() == PEERS.read_bytes()


@pytest.mark.parametrize("microseconds", [50, 200])
def test_a_wait_is_not_rounded_to_milliseconds(microseconds: int) -> None:
    waits = _module()

    async def shortest() -> float:
        seconds = []
        for _ in range(50):
            begun = time.perf_counter()
            await waits.wait(microseconds)
            seconds.append(time.perf_counter() - begun)
        return min(seconds)

    took = asyncio.run(shortest()) * 1_000_000
    assert microseconds <= took < microseconds + 800


def test_a_timer_that_was_given_up_is_handed_to_nobody_else() -> None:
    waits = _module()

    async def given_up() -> None:
        abandoned = asyncio.create_task(waits.wait(30_000_000))
        await asyncio.sleep(0)
        before = len(os.listdir("/proc/self/fd"))
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        assert waits.FREE == []
        assert len(os.listdir("/proc/self/fd")) == before - 1

    asyncio.run(given_up())
