"""What is measured: loads of one and two cores, handlers that compute and wait, packages by the dozen."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import process
from bench.client import Call, Pool, post
from bench.generators import wrk
from bench.par import AGENTS, Par, RunningPar
from bench.peers import ECHO_TEXT

from .model import Point

CALLERS = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = 2
ROUNDS = 3
PACKAGES = (1, 10, 25, 50, 100)
HELD = 8
HOLD_SECONDS = 3.0
CALM_SECONDS = 2.0
#: (callers, microseconds): a handler that waits, asynchronously.
WAITS = ((1, 10_000), (8, 10_000), (64, 10_000), (500, 100_000))
#: Microseconds that a handler computes, with 32 callers.
COMPUTES = (100, 1_000, 10_000)
COMPUTING = 32

Say = Callable[[str], None]


@dataclass(frozen=True)
class Loaded:
    """The median of some loads. `other_us` is what a call has cost its generator."""

    point: Point
    other_us: float


@dataclass(frozen=True)
class Hosted:
    """So many packages: MB of the whole tree, milliseconds until all were ready, echoes a second beside them."""

    packages: int
    mb: float
    ready_ms: float
    rate: float


@contextmanager
def pinned(binary: Path, cores: int) -> Iterator[Path]:
    """PAR on a core of its own with the generators on the others, or all of them on all."""
    if cores != 1:
        yield binary
        return
    every = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="par-capacity-") as folder:
        wrapper = Path(folder) / "par"
        wrapper.write_text(f'#!/bin/sh\nexec taskset -c {every[0]} "{binary}" "$@"\n')
        wrapper.chmod(0o755)
        os.sched_setaffinity(0, every[1:])
        try:
            yield wrapper
        finally:
            os.sched_setaffinity(0, every)


def echoes(par: Par, say: Say) -> Iterator[Loaded]:
    """A handler that does nothing, by callers and cores."""
    for cores in (1, 2):
        with pinned(par.binary, cores) as binary, replace(par, binary=binary).start("echo") as running:
            for callers in CALLERS:
                loaded = load(running, par.path("echo"), ECHO_TEXT, callers, cores)
                point = loaded.point
                say(f"{cores} core(s), {callers} callers: {point.rate:,.0f}/s, {point.cpu_us:.1f} µs a call")
                yield loaded


def timed(par: Par, say: Say) -> Iterator[tuple[str, int, Loaded]]:
    """Handlers that compute or wait on all cores: which, how long (µs), what was seen."""
    with par.start("timed", "awaited") as running:
        cases = [("cpu", COMPUTING, us) for us in COMPUTES] + [("asleep", *case) for case in WAITS]
        for kind, callers, us in cases:
            loaded = load(running, par.path(kind), f'{{"us":{us}}}', callers, os.cpu_count() or 1)
            say(f"{kind} {us} µs, {callers} callers: {loaded.point.rate:,.0f}/s")
            yield kind, us, loaded


def load(running: RunningPar, path: str, body: str, callers: int, cores: int) -> Loaded:
    """One closed loop, several times."""
    seen, others = [], []
    for number in range(ROUNDS):
        before = _children()
        one = wrk(running.server, path, body, callers, SECONDS, 0 if number else 1)
        if one.failed:
            raise RuntimeError(f"{path} with {callers} callers: {one.errors} errors of {one.requests}")
        # The warm-up is the generator's work, too.
        calls = one.requests * (1 if number else 1 + 1 / SECONDS)
        seen.append(one)
        others.append((_children() - before) * 1e6 / calls)
    rate = statistics.median(one.rate for one in seen)
    cpu = statistics.median(one.cpu_us for one in seen)
    return Loaded(Point(callers, cores, rate, cpu), statistics.median(others))


def hosted(par: Par, say: Say) -> Iterator[Hosted]:
    """Packages by number: each has one worker, and one of them is called."""
    for count in PACKAGES:
        with tempfile.TemporaryDirectory(prefix="par-capacity-") as folder:
            agents = [_package(Path(folder), number) for number in range(count)]
            begun = time.monotonic()
            with par.start(*map(str, agents)) as running:
                ready_ms = (time.monotonic() - begun) * 1000
                time.sleep(CALM_SECONDS)
                mb = process.tree_pss_mb(running.server.pid)
                rate = load(running, "/agents/bench-echo-0/invoke", ECHO_TEXT, 32, 2).point.rate
        say(f"{count} packages: {mb:.0f} MB, ready in {ready_ms:.0f} ms, {rate:,.0f} echoes/s")
        yield Hosted(count, mb, ready_ms, rate)


def worker_mb(par: Par) -> float:
    """What a further worker of a package takes: calls that hold their workers make PAR fork more."""
    with par.start("timed") as running:
        time.sleep(CALM_SECONDS)
        port, root = running.server.port, running.server.pid
        before, workers = process.tree_pss_mb(root), len(process.tree(root))
        pool = Pool(port, HELD)
        for _ in range(HELD):
            pool.send(_hold(par))
        time.sleep(HOLD_SECONDS / 2)
        after, more = process.tree_pss_mb(root), len(process.tree(root)) - workers
        pool.gather(HOLD_SECONDS * 3)
        pool.close()
    if more < 1:
        raise RuntimeError("no worker was forked for calls that hold theirs")
    return (after - before) / more


def _hold(par: Par) -> Call:
    return post(par.path("sleep"), {"us": round(HOLD_SECONDS * 1e6)})


def _package(folder: Path, number: int) -> Path:
    """The echo package under a name and an id of its own."""
    package = Path(shutil.copytree(AGENTS / "echo", folder / f"echo-{number}"))
    manifest = package / "agent.yaml"
    text = manifest.read_text().replace("name: bench-echo", f"name: bench-echo-{number}")
    manifest.write_text(text.replace("id: echo", f"id: bench-echo-{number}"))
    return package


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
