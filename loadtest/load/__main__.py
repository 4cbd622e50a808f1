"""`make load`, `make soak`: start PAR, run k6 and oha against it, write what they saw.

0: every threshold holds; 1: some do not; 2: cannot run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import report as machine
from bench import tools

from . import report, soak
from .host import CHECKOUT, hosting
from .run import OHA, SCENARIOS, Seen, echo, k6, oha, saturation, waiting

RESULTS = CHECKOUT / "loadtest" / "results" / "load"
HERE = Path(__file__).parent
# Calls a second of a soak that k6 makes, of every kind; it takes far more of the cores than PAR does, so most calls are echo
# by oha.
MIXED_RATE = 200
# The 500 who wait and all others; by default PAR takes 500 calls at once.
SOAK_CALLS = 1000
# Seconds until the others have begun, and seconds for which saturation is looked for beside them.
SETTLE, SATURATE = 10, 10


@dataclass(frozen=True)
class Plan:
    """How long each run takes."""

    seconds: int


def main() -> int:
    """Run what was chosen."""
    chosen = _arguments()
    chosen.par = chosen.par.absolute()
    try:
        tools.prepare()
        binary = tools.environment("k6", HERE) / "k6"
    except tools.Missing as missing:
        print(f"load: {missing}", file=sys.stderr)
        return 2
    about = machine.machine(chosen.par, Plan(chosen.seconds)) | {
        "k6": tools.version([str(binary), "version"])
    }
    if chosen.hours:
        return _soak(chosen, binary, about)
    seen = [_one(name, chosen, binary) for name in chosen.only or [*SCENARIOS, *OHA]]
    report.write(chosen.results, about, seen)
    broken = [f"{each.name}: {what}" for each in seen for what, held in each.held.items() if not held]
    for text in broken:
        print(f"load: DOES NOT HOLD: {text}")
    print(f"load: {len(seen)} runs, {len(broken)} thresholds do not hold; results in {chosen.results}")
    return 1 if broken or not all(each.fine for each in seen) else 0


def _one(name: str, chosen: argparse.Namespace, binary: Path) -> Seen:
    with (
        hosting(chosen.par, secure=name.endswith("secure")) as host,
        tempfile.TemporaryDirectory() as scratch,
    ):
        if name in OHA:
            seen = oha(name, host, chosen.seconds)
        else:
            seen = k6(binary, name, host, chosen.seconds, Path(scratch))
    _say(
        f"{name:15} {seen.calls:8,} calls, {seen.rate:7,.0f}/s, {seen.failed} failed, {seen.dropped} dropped; "
        f"p50 {seen.p50:.2f}, p95 {seen.p95:.2f}, p99 {seen.p99:.2f} ms; {'holds' if seen.fine else 'DOES NOT HOLD'}"
    )
    return seen


def _soak(chosen: argparse.Namespace, binary: Path, about: dict[str, object]) -> int:
    with hosting(chosen.par, calls=SOAK_CALLS) as host, tempfile.TemporaryDirectory() as scratch:
        # Both until after the last sample: a start of k6 takes both cores for a second.
        whole = int(chosen.hours * 3600) + 2 * chosen.seconds + SETTLE + SATURATE
        with ThreadPoolExecutor(2) as beside:
            mixed = beside.submit(k6, binary, "soak", host, whole, Path(scratch), MIXED_RATE)
            held_open = beside.submit(waiting, host, whole)
            time.sleep(SETTLE)
            most = saturation(host, SATURATE)
            rate = chosen.rate or int(most / 2)
            _say(f"soak: {most:,.0f} calls of echo a second at most, {rate:,} for {chosen.hours:g} h")
            samples = soak.soak(
                host, chosen.hours, chosen.seconds, lambda seconds: echo(host, seconds, rate), _say
            )
        others = {"of every kind": mixed.result(), "of a second, 500 at once": held_open.result()}
    about |= {"saturation": round(most), "rate": rate, "mixed": MIXED_RATE}
    held = soak.verdicts(samples, rate) | soak.beside(others)
    soak.write(chosen.results, about, samples, held)
    for what, fine in held.items():
        _say(f"{'holds' if fine else 'DOES NOT HOLD'}: {what}")
    return 0 if all(held.values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("--seconds", type=int, default=46, help="length of each run (13 runs: ten minutes)")
    parser.add_argument("--only", action="append", choices=[*SCENARIOS, *OHA], help="this run (repeatable)")
    parser.add_argument("--hours", type=float, default=0, help="soak: so long at one rate")
    parser.add_argument("--rate", type=int, default=0, help="soak: calls a second (0: half of saturation)")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    built = target / "release" / "par"
    parser.add_argument("--par", type=Path, default=built, help="the binary (default: the release build)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"load: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
