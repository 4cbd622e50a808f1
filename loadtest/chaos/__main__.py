"""`make chaos`: faults by the seed under a load whose answers are all judged. All on loopback; ends by itself.

0: every promise holds; 1: some do not; 2: cannot run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import report as machine
from bench import tools

from . import report
from .plan import Kind
from .run import Order, run, say

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = CHECKOUT / "loadtest" / "results" / "chaos"


@dataclass(frozen=True)
class Plan:
    """What the figures depend on."""

    seed: int
    minutes: float
    rate: float


def main() -> int:
    """Run once."""
    chosen = _arguments()
    binary = chosen.par.absolute()
    if not binary.exists():
        print(f"chaos: {binary} is not there: `make chaos` builds it", file=sys.stderr)
        return 2
    try:
        tools.prepare()
    except tools.Missing as missing:
        print(f"chaos: {missing}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    only = tuple(Kind(name) for name in chosen.only or ())
    order = Order(binary, seed, chosen.minutes * 60, chosen.rate, only, chosen.keep)
    about = machine.machine(binary, Plan(seed, chosen.minutes, chosen.rate))
    outcome = asyncio.run(run(order))
    report.write(chosen.results, about, outcome)
    print(report.verdicts(outcome.findings))
    broken = [each for each in outcome.findings if not each.holds]
    for each in broken:
        for line in each.broken[: report.SHOWN]:
            say(f"BROKEN: {each.name}: {line}")
    again = f"make chaos SEED={seed} MINUTES={chosen.minutes:g}"
    say(f"{len(broken)} promises broken; again with `{again}`; results in {chosen.results}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the plan and the load (default: drawn and told)")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of the load")
    parser.add_argument(
        "--rate", type=float, default=150.0, help="requests a second beside those of sessions"
    )
    parser.add_argument(
        "--only", action="append", choices=[kind.value for kind in Kind], help="this kind (repeatable)"
    )
    parser.add_argument("--keep", action="store_true", help="leave home and logs of PAR where they are")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    built = target / "release" / "par"
    parser.add_argument("--par", type=Path, default=built, help="the binary (default: the release build)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
