"""What safety costs: identity, role, schema, limits and audit all on, against all off."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import process
from ..client import ask, post
from ..generators import Load, wrk
from ..par import Par, RunningPar
from ..peers import ECHO_BODY, ECHO_TEXT
from ..plan import Bench, Result, at_least, at_most, median_load, no_errors
from ..tokens import AUDIENCE, ISSUER, Issuer

CONNECTIONS = 32
ASKED_KEPT = 0.85
ASKED_COLD_US = 60.0
# More tokens than are remembered: each is as cold as the first.
TOKENS = 64
COLD_CALLS = 6_000
# Far above what is measured: the limits count, and refuse nobody.
ENDLESS = "10000000/s"


def guarded(bench: Bench) -> Result:
    """Both in turn, several rounds; medians."""
    header = ["PAR", "requests/s", "p50 µs", "p99 µs", "CPU µs/request"]
    result = Result("guarded", "Echo with identity, role, schema, limits and audit", header)
    if not bench.par:
        return result
    with tempfile.TemporaryDirectory(prefix="par-bench-") as folder:
        issuer = Issuer.make(Path(folder))
        modes = {
            "all off": (bench.par, "open", ""),
            "all on": (_on(bench.par, issuer), "guarded", issuer.token()),
        }
        seen: dict[str, list[Load]] = defaultdict(list)
        for number in range(1, bench.plan.rounds + 1):
            for mode, (par, agent, token) in modes.items():
                with par.start("guarded") as running:
                    load = wrk(
                        running.server,
                        par.path(agent),
                        ECHO_TEXT,
                        CONNECTIONS,
                        bench.plan.seconds,
                        bench.plan.warm_up,
                        token,
                    )
                seen[mode].append(load)
                bench.say(f"guarded {number}/{bench.plan.rounds} {mode}: {load.rate:,.0f}/s")
        cold = [_cold(bench.par, issuer) for _ in range(bench.plan.rounds)]
    middle = {mode: median_load(loads) for mode, loads in seen.items()}
    for mode, load in middle.items():
        times = [f"{value:,.0f}" for value in (load.p50, load.p99)]
        result.lines.append([mode, f"{load.rate:,.0f}", *times, f"{load.cpu_us:,.1f}"])
    kept = [on.rate / off.rate for on, off in zip(seen["all on"], seen["all off"], strict=True)]
    cold_us = statistics.median(cold)
    bench.say(f"guarded: a token that was not seen before costs {cold_us:.0f} µs more than one that was")
    result.verdicts = [
        no_errors("every guarded echo answered", sum(load.errors for load in middle.values())),
        at_least("requests/s, all on ÷ all off, median of pairs", statistics.median(kept), ASKED_KEPT, " ×"),
        at_most("RS256 token not seen before, CPU more than a remembered one", cold_us, ASKED_COLD_US, " µs"),
    ]
    result.raw = {
        "rounds": {mode: [asdict(load) for load in loads] for mode, loads in seen.items()},
        "kept": kept,
        "cold_us": cold,
    }
    return result


def _on(par: Par, issuer: Issuer, cached: int = 10_000) -> Par:
    adapter = {"type": "jwks_file", "path": str(issuer.jwks), "issuer": ISSUER, "audience": AUDIENCE}
    limits: dict[str, Any] = {"global_rate": ENDLESS, "tenant_rate": ENDLESS, "agent_rate": ENDLESS}
    limits |= {"tenant_concurrent": 10_000, "agent_concurrent": 10_000, "tenant_daily_calls": 10**12}
    config = {"identity": {"adapters": [adapter], "cached_tokens": cached}, "limits": limits}
    return replace(par, config={**par.config, **config})


def _cold(par: Par, issuer: Issuer) -> float:
    """CPU microseconds that a call takes more with a new token than with a remembered one: its verification."""
    tokens = [issuer.token(number) for number in range(TOKENS)]
    with _on(par, issuer, cached=1).start("guarded") as running:
        many = _cpu_us(running, par, tokens)
    with _on(par, issuer).start("guarded") as running:
        one = _cpu_us(running, par, tokens[:1])
    return many - one


def _cpu_us(running: RunningPar, par: Par, tokens: list[str]) -> float:
    calls = [
        post(par.path("guarded"), ECHO_BODY, headers=[f"Authorization: Bearer {token}"]) for token in tokens
    ]
    for number in range(200):
        ask(running.server.port, calls[number % len(calls)])
    before = process.cpu_seconds(running.server.pid)
    for number in range(COLD_CALLS):
        answer = ask(running.server.port, calls[number % len(calls)])
        if answer.status != 200:
            raise RuntimeError(f"a valid token was answered with {answer.status}: {answer.body[:300]!r}")
    spent = process.cpu_seconds(running.server.pid) - before
    return spent * 1e6 / COLD_CALLS
