"""What recording every call costs: the same echo with metering on and off, in turn on the same machine."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, replace

from ..generators import Load, wrk
from ..par import Par
from ..peers import ECHO_TEXT
from ..plan import Bench, Result, at_most, median_load, no_errors

CONNECTIONS = 32
# Metering, metrics, access lines and a sample of traces together; metering is one of four.
ASKED_SHARE = 0.10
# Each round is two short loads: a machine that gets slower meanwhile slows both.
PAIRS = 3


def metering(bench: Bench) -> Result:
    """Both run at once and are loaded in turn; medians of pairs."""
    header = ["metering", "requests/s", "p50 µs", "p99 µs", "CPU µs/request"]
    result = Result("metering", "Echo with metering and without", header)
    if not bench.par:
        return result
    modes: dict[str, Par] = {
        "on": bench.par,
        "off": replace(bench.par, config={**bench.par.config, "metering": {"enabled": False}}),
    }
    seen: dict[str, list[Load]] = defaultdict(list)
    for number in range(1, bench.plan.rounds + 1):
        with modes["on"].start("echo") as on, modes["off"].start("echo") as off:
            servers = {"on": on.server, "off": off.server}
            for pair in range(PAIRS):
                # Whoever comes second finds caches of the processor as the other left them.
                for mode in ("on", "off") if pair % 2 else ("off", "on"):
                    path = modes[mode].path("echo")
                    warm_up = 0 if pair else bench.plan.warm_up
                    load = wrk(servers[mode], path, ECHO_TEXT, CONNECTIONS, bench.plan.seconds, warm_up)
                    seen[mode].append(load)
        rates = ", ".join(f"{mode} {loads[-1].rate:,.0f}/s" for mode, loads in seen.items())
        bench.say(f"metering {number}/{bench.plan.rounds}: {rates}")
    for mode, loads in seen.items():
        load = median_load(loads)
        times = [f"{value:,.0f}" for value in (load.p50, load.p99)]
        result.lines.append([mode, f"{load.rate:,.0f}", *times, f"{load.cpu_us:,.2f}"])
    pairs = list(zip(seen["on"], seen["off"], strict=True))
    more = statistics.median(on.cpu_us - off.cpu_us for on, off in pairs)
    share = statistics.median(on.cpu_us / off.cpu_us - 1 for on, off in pairs)
    result.lines.append(["difference", "", "", "", f"{more:+.2f} ({share:+.1%})"])
    result.verdicts = [
        no_errors("every echo answered", sum(load.errors for loads in seen.values() for load in loads)),
        at_most(
            "CPU per call, metering on ÷ off, median of pairs", share * 100, ASKED_SHARE * 100, " % more"
        ),
    ]
    result.raw = {
        "rounds": {mode: [asdict(load) for load in loads] for mode, loads in seen.items()},
        "more_us": more,
        "share": share,
    }
    return result
