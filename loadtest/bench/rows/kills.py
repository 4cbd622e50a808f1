"""`kill -9` of PAR under full load, again and again on one data directory: every answer is in the ledger, once, and billed."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..billing_side import KEY, BillingSide, billing_side
from ..client import Call, Pool, post
from ..par import Par
from ..plan import Bench, Result, Verdict

CONNECTIONS = 32
KILLS = 100
QUICK_KILLS = 5
# Shorter than two rounds of the thread that adds: kills meet it at every moment of its work.
SECONDS = (0.05, 2.5)
# The last minute has to be over, and sealed, before it is billed.
BILLED_SECONDS = 180


def kills(bench: Bench) -> Result:
    """What clients were answered against what was recorded, and against the sums."""
    result = Result("kills", "`kill -9` under full load", ["what", "value"])
    if not bench.par:
        return result
    count = KILLS if bench.plan.rounds > 1 else QUICK_KILLS
    answered: list[str] = []
    numbers = itertools.count()
    with TemporaryDirectory(prefix="par-bench-") as folder, billing_side() as side:
        home = Path(folder)
        par = _billing(bench.par, home, side)
        for number in range(1, count + 1):
            _life(par, home, answered, numbers, random.uniform(*SECONDS))
            if number % 10 == 0:
                bench.say(f"kills {number}/{count}: {len(answered):,} answers")
        # Once more, and to a proper end.
        with par.start("echo", home=home) as running:
            _wait(lambda: side.counted["par_requests"] >= _requests(par, home))
            running.server.stop()
            records = _ask(par, home, "usage", "--calls").splitlines()
            summed = _requests(par, home)
        billed = side.counted["par_requests"]
    times = Counter(_ids(records))
    lost = sum(1 for name in answered if times[name] == 0)
    twice = sum(1 for seen in times.values() if seen > 1)
    result.lines = [
        ["kills", f"{count}"],
        ["answers that clients received", f"{len(answered):,}"],
        ["calls recorded", f"{len(times):,}"],
        ["answers without a record", f"{lost}"],
        ["calls recorded twice", f"{twice}"],
        ["requests in the ledger", f"{summed:,}"],
        ["requests that the billing side has counted", f"{billed:,}"],
        ["events that it was sent again", f"{side.repeated}"],
    ]
    for name, value in result.lines:
        bench.say(f"kills: {name}: {value}")
    result.verdicts = [
        Verdict("every answer is recorded", "0 lost", f"{lost} lost", lost == 0 and bool(answered)),
        Verdict("no call is recorded twice", "0 twice", f"{twice} twice", twice == 0),
        Verdict("the ledger adds each record once", f"{len(times):,}", f"{summed:,}", summed == len(times)),
        Verdict("the billing side has the same sum", f"{summed:,}", f"{billed:,}", billed == summed),
    ]
    result.raw = {
        "kills": count,
        "answered": len(answered),
        "recorded": len(times),
        "summed": summed,
        "billed": billed,
    }
    return result


def _billing(par: Par, home: Path, side: BillingSide) -> Par:
    """The same PAR, which bills every minute from now on."""
    customers = home / "customers.yaml"
    customers.write_text('"127.0.0.1": cus_bench\n')
    billing = {"every": "1s", "window": "1m", "since": str(int(time.time())), "customers": str(customers)}
    env = {"STRIPE_KEY": KEY, "STRIPE_API_URL": f"http://127.0.0.1:{side.port}"}
    return replace(par, config={**par.config, "billing": billing}, env={**par.env, **env})


def _requests(par: Par, home: Path) -> int:
    sums = json.loads(_ask(par, home, "usage", "--by", "tenant", "--json"))
    return sum(int(row["requests"]) for row in sums["rows"])


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + BILLED_SECONDS
    while not done() and time.monotonic() < end:
        time.sleep(1.0)


def _life(par: Par, home: Path, answered: list[str], numbers: itertools.count[int], seconds: float) -> None:
    """One start, load, and its end in the middle of it."""
    running = par.start("echo", home=home)
    try:
        pool = Pool(running.server.port, CONNECTIONS)
        try:
            path = par.path("echo")

            def call() -> Call:
                name = f"c{next(numbers)}"
                return post(path, {"n": 1}, label=name, headers=[f"X-Request-ID: {name}"])

            for answer in pool.closed_loop(call, seconds, then=lambda: _kill(running.server.pid)):
                if answer.status == 200:
                    answered.append(answer.label)
        finally:
            pool.close()
    finally:
        # What is left of its tree.
        running.server.stop()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _ids(records: list[str]) -> list[str]:
    entries: list[dict[str, Any]] = [json.loads(record) for record in records]
    return [entry["request_id"] for entry in entries if entry["kind"] == "call"]


def _ask(par: Par, home: Path, *arguments: str) -> str:
    env = {**os.environ, "PAR_DATA_DIR": str(home / "data")}
    command = [str(par.binary), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
