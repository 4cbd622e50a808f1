import asyncio
import time


def sleep(*, seconds=1.0):
    print(f"sleep began {seconds}")
    time.sleep(seconds)
    return {"slept": seconds}


async def asleep(*, seconds=1.0):
    print(f"asleep began {seconds}")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print(f"asleep was cancelled {seconds}")
        raise
    return {"slept": seconds}


def spin(*, ms=10):
    end = time.perf_counter() + ms / 1000
    rounds = 0
    while time.perf_counter() < end:
        rounds += 1
    return {"rounds": rounds}
