"""The asynchronous wait of the bench: the same for PAR and its peers, and as long as it says."""

from __future__ import annotations

import asyncio
import importlib.util
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


@pytest.mark.parametrize("microseconds", [50, 200, 1000])
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


def test_a_wait_that_was_given_up_rings_for_nobody_else() -> None:
    waits = _module()

    async def given_up_then_waited() -> float:
        abandoned = asyncio.create_task(waits.wait(30_000))
        await asyncio.sleep(0)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        begun = time.perf_counter()
        await waits.wait(60_000)
        return time.perf_counter() - begun

    assert asyncio.run(given_up_then_waited()) >= 0.06
