"""One run: start everything, call and break, let it rest, ask what is on record, judge."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.billing_side import KEY

from . import checkers
from .caller import Load, Tokens
from .calls import Seen
from .census import Census, adopt, bury, census, end, orphans
from .checkers import Finding, Record
from .clockwork import Clockwork, clockwork
from .disk import Disk, disk
from .ends import OPERATOR, TENANTS, Ends, Signer, ends
from .faults import Stage
from .host import Host, Life
from .outcomes import ALWAYS, Window
from .plan import ENDS_PAR, RECOVERY, Fault, Kind, plan
from .shelf import Shelf

WARM_UP_SECONDS = 2.0
# After the last calls, until idle workers and replaced versions are gone.
REST_SECONDS = 8.0
REST_WITHIN_SECONDS = 30.0
# What is billed has to be over, and nobody waits for that: the clock is moved beyond whatever it has shown.
AHEAD_SECONDS = 4 * 3600
BILLED_WITHIN_SECONDS = 30.0
# Where the clock cannot be moved: the last minute, the one after it, and the round of the billing.
BILLED_LATER_SECONDS = 200.0
PANIC = re.compile(r"panicked at [^\n]*")


class Unfit(Exception):
    """It does not work even while nothing is broken."""


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    binary: Path
    seed: int
    seconds: float
    rate: float
    only: tuple[Kind, ...] = ()
    keep: bool = False


@dataclass
class Outcome:
    """What came of it."""

    order: Order
    faults: list[Fault]
    skipped: dict[Kind, str]
    findings: list[Finding]
    windows: list[Window]
    met: dict[int, str]
    recoveries: list[tuple[float, float, str]]
    codes: dict[str, int]
    lives: int
    held: int
    before: Census
    after: Census
    notes: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """One line of progress."""
    print(f"chaos: {text}", flush=True)


async def run(order: Order) -> Outcome:
    """All of it; everything that was started has ended afterwards."""
    adopt()
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    begun = time.monotonic()

    def clock() -> float:
        return time.monotonic() - begun

    try:
        async with AsyncExitStack() as stack:
            room = stack.enter_context(disk(home))
            wheels = clockwork(home)
            faults, skipped = _planned(order, room, wheels)
            signer = Signer.make(home / "gpg")
            stack.callback(signer.close)
            around = await stack.enter_async_context(ends(home))
            shelf = Shelf(around.bucket, signer)
            await asyncio.to_thread(shelf.publish, Kind.RELEASE_GOOD)
            host = _host(order.binary, home, room, wheels, around, signer, clock)
            stack.push_async_callback(_end, host, room, wheels)
            stage = Stage(host, around, shelf, room, wheels)
            return await _through(order, faults, skipped, stage)
    finally:
        if order.keep:
            say(f"kept: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)


def _planned(order: Order, room: Disk, wheels: Clockwork | None) -> tuple[list[Fault], dict[Kind, str]]:
    skipped: dict[Kind, str] = {}
    if not room.is_own:
        skipped[Kind.DISK_FULL] = "no tmpfs can be mounted here"
    if wheels is None:
        skipped[Kind.CLOCK] = "libfaketime is not there"
    for kind, why in skipped.items():
        say(f"SKIPPED: {kind}: {why}")
    without = {*skipped, *(kind for kind in Kind if order.only and kind not in order.only)}
    faults = plan(order.seed, order.seconds, sorted(without))
    say(f"seed {order.seed}, {order.seconds:g} s, {len(faults)} faults")
    for fault in faults:
        say(f"  {fault}")
    return faults, skipped


def _host(
    binary: Path,
    home: Path,
    room: Disk,
    wheels: Clockwork | None,
    around: Ends,
    signer: Signer,
    clock: Callable[[], float],
) -> Host:
    doors = around.doors
    temporary = home / "tmp"
    temporary.mkdir()
    config: Mapping[str, Any] = {
        "server": {"max_connections": 600},
        "identity": {"issuer": doors[Kind.ISSUER].url, "audience": ["par-bench"]},
        "registry": {"url": around.bucket.url("index.json"), "poll_interval": "1s"},
        "packages": {
            "verify_signatures": "require",
            "trusted_keys": [str(signer.public(home / "key.asc"))],
            "download_timeout": "6s",
            "download_idle_timeout": "2s",
        },
        "rollout": {"rollback_ttl": "2s", "parked": 1, "drain_timeout": "2s", "bake_window": "3s"},
        "pool": {"import_timeout": "6s", "idle_ttl": "3s"},
        "limits": {"request_timeout": "3s", "max_concurrent": 1000},
        "metering": {"on_full": "refuse"},
        "billing": {
            "every": "1s",
            "window": "1m",
            # Before the earliest time that its clock may show.
            "since": str(int(time.time()) - AHEAD_SECONDS),
            "customers": str(around.customers),
        },
        "webhooks": {"url": doors[Kind.WEBHOOK].url, "secret": "whsec_Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="},
        "shutdown": {"grace": "5s"},
    }
    env = {
        **around.bucket.env,
        "S3_ENDPOINT_URL": doors[Kind.S3].url,
        "STRIPE_KEY": KEY,
        "STRIPE_API_URL": doors[Kind.BILLING].url,
        "TMPDIR": str(temporary),
        **(wheels.env if wheels else {}),
    }
    return Host(binary, home, room.path / "data", config, env, clock)


async def _through(order: Order, faults: list[Fault], skipped: dict[Kind, str], stage: Stage) -> Outcome:
    host, around = stage.host, stage.ends
    host.start()
    await host.ready()
    keeper = asyncio.create_task(host.keep())
    tokens = Tokens(
        {tenant: around.token(tenant) for tenant in TENANTS},
        forbidden=around.token(TENANTS[0], role=OPERATOR),
        forged=around.token(TENANTS[0], forged=True),
    )
    load = Load(host.port, tokens, order.seed, order.rate, host.clock)
    try:
        await _loaded(load, WARM_UP_SECONDS)
        if broken := [each for each in load.seen if each.code not in ALWAYS[each.call.ask]]:
            raise Unfit(f"{len(broken)} requests fail before anything is broken, the first: {broken[0]}")
        before = await _at_rest(stage)
        left = await _broken(load, faults, order.seconds, stage)
        lives = list(host.lives)
        after = await _at_rest(stage, before)
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
    records, summed = await _billed(stage, load.seen)
    left.update(_left(stage))
    seen = load.seen
    paid = {
        tenant: around.billing.by_customer[f"cus_{tenant}", "par_requests"]
        for tenant in TENANTS
        if around.billing.by_customer[f"cus_{tenant}", "par_requests"]
    }
    windows = stage.windows
    findings = [
        checkers.answers(seen),
        checkers.callers(seen),
        checkers.outcomes(seen, windows),
        checkers.sessions(load.miscounted, seen),
        checkers.usage(seen, records),
        checkers.billing(records, summed, paid, around.billing.repeated),
        checkers.releases(seen, windows, stage.shelf.good(), stage.shelf.last_good.number),
        checkers.letters(seen, around.letters.got),
        checkers.recovery(seen, windows),
        checkers.leaks(before, after, sorted(left)),
        checkers.deaths(lives, windows, _panics(host)),
    ]
    codes: dict[str, int] = {}
    for each in seen:
        codes[each.code] = codes.get(each.code, 0) + 1
    return Outcome(
        order,
        faults,
        skipped,
        findings,
        windows,
        stage.met,
        checkers.recoveries(seen, windows),
        codes,
        len(lives),
        load.held,
        before,
        after,
    )


async def _loaded(load: Load, seconds: float) -> None:
    task = asyncio.create_task(load.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _broken(load: Load, faults: Sequence[Fault], seconds: float, stage: Stage) -> set[str]:
    """Call all the time, and break what the plan says when it says so. Returns who has outlived his PAR by far."""
    begin = stage.host.clock()
    left: set[str] = set()

    async def one(fault: Fault) -> None:
        await asyncio.sleep(max(0.0, begin + fault.at - stage.host.clock()))
        say(f"{stage.host.clock():7.2f} s  {fault.kind} {fault.detail}")
        await stage.apply(fault)
        if fault.kind in ENDS_PAR:
            await asyncio.sleep(RECOVERY)
            left.update(_left(stage))

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(one(fault))
        over = max([seconds, *(fault.end + RECOVERY for fault in faults)])
        await asyncio.sleep(max(0.0, begin + over - stage.host.clock()))

    calls = asyncio.create_task(load.run())
    try:
        await all_of_them()
    finally:
        calls.cancel()
        with suppress(asyncio.CancelledError):
            await calls
    return left


async def _at_rest(stage: Stage, before: Census | None = None) -> Census:
    """Count when nothing is called any more and what was idle has gone."""
    host = stage.host
    await asyncio.sleep(REST_SECONDS)
    end_ = host.clock() + REST_WITHIN_SECONDS
    while True:
        found = census(host.pid, host.data, host.home / "tmp")
        if before is None or checkers.leaks(before, found, []).holds or host.clock() > end_:
            return found
        await asyncio.sleep(1.0)


async def _billed(stage: Stage, seen: Sequence[Seen]) -> tuple[list[Record], dict[str, int]]:
    """End PAR, let it bill and tell all that there is, and read what is on record."""
    host, billing, letters = stage.host, stage.ends.billing, stage.ends.letters
    await host.stop()
    if stage.clockwork:
        stage.clockwork.set(AHEAD_SECONDS)
    host.start()
    await host.ready()
    records = _records(host)
    owed = sum(record.outcome not in checkers.NOT_BILLED for record in records)
    end_ = host.clock() + (BILLED_WITHIN_SECONDS if stage.clockwork else BILLED_LATER_SECONDS)
    while host.clock() < end_ and (
        billing.counted["par_requests"] < owed or not checkers.letters(seen, letters.got).holds
    ):
        await asyncio.sleep(0.5)
    # Whatever is billed twice comes now.
    await asyncio.sleep(2.0)
    rows = json.loads(host.ask("usage", "--by", "tenant", "--json"))["rows"]
    await host.stop()
    return _records(host), {row["tenant"]: int(row["requests"]) for row in rows}


def _records(host: Host) -> list[Record]:
    lines = (json.loads(line) for line in host.ask("usage", "--calls").splitlines())
    return [Record.read(line) for line in lines if line["kind"] == "call"]


def _left(stage: Stage) -> list[str]:
    """Processes that outlive their PAR."""
    found = []
    for pid in orphans(stage.host.data):
        with suppress(OSError):
            found.append(f"{pid}: {Path(f'/proc/{pid}/cmdline').read_text()[:200]!r}")
    return found


def _panics(host: Host) -> list[tuple[Life, str]]:
    """What its processes have died of, or nearly."""
    return [(life, text) for at, life in enumerate(host.lives) for text in PANIC.findall(host.log(at))]


async def _end(host: Host, _room: Disk, wheels: Clockwork | None) -> None:
    await host.stop()
    end(orphans(host.data))
    await asyncio.sleep(0.2)
    bury(frozenset())
    if wheels:
        wheels.clean([life.pid for life in host.lives])
