"""`make bench-rollout`: what replacing packages costs their callers. All on loopback; ends by itself."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench import report, tools
from bench.plan import Result, Verdict
from bench.server import StartFailed

from .plan import QUICK, Plan, Trial, Unexpected
from .rows import ROWS

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = CHECKOUT / "loadtest" / "results"
# Above this, somebody else is using the cores and the figures say little.
QUIET = 0.7
PREFACE = (
    "PAR (release build, as in production), its callers and the S3 server share the same cores. Times that "
    "are promised are held against the worst of all measurements, not against the median."
)


def main() -> int:
    """0: measured and every promise met; 1: some not met; 2: cannot run."""
    chosen = _arguments()
    try:
        tools.prepare()
    except tools.Missing as missing:
        print(f"rollout: {missing}", file=sys.stderr)
        return 2
    trial = _trial(chosen)
    about = report.machine(trial.binary, trial.plan)
    if about["load_before"] > QUIET:
        trial.say(f"WARNING: load average {about['load_before']:.2f}, the machine is not quiet")
    begun = time.monotonic()
    results: list[Result] = []
    for name in chosen.only or ROWS:
        trial.say(f"row {name}")
        results.append(_measured(trial, name))
        if results[-1].lines:
            print(
                f"\n{results[-1].title}\n{report.table(results[-1].header, results[-1].lines)}\n", flush=True
            )
    about["minutes"] = round((time.monotonic() - begun) / 60, 1)
    report.write_named(chosen.results, "rollout", PREFACE, about, results)
    print(report.verdicts(results))
    broken = report.broken(results)
    trial.say(f"{about['minutes']} minutes; {len(broken)} promises not met; results in {chosen.results}")
    return 1 if broken else 0


def _measured(trial: Trial, name: str) -> Result:
    """A row that cannot go on is a promise that was not met; the other rows still run."""
    try:
        return ROWS[name](trial)
    except (Unexpected, StartFailed) as unexpected:
        trial.say(f"{name}: {unexpected}")
        return Result(
            name,
            name,
            [],
            verdicts=[Verdict("the row runs", "to its end", " ".join(str(unexpected).split())[:200], False)],
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rollout", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few of each (about three minutes)")
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row (repeatable)")
    parser.add_argument("--par", type=Path, help="the binary (default: the release build)")
    parser.add_argument(
        "--by",
        choices=["index", "load"],
        default="index",
        help="releases come through an index and reload, or through load with force",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    return parser.parse_args()


def _trial(chosen: argparse.Namespace) -> Trial:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    binary = (chosen.par or target / "release" / "par").absolute()
    if not binary.exists():
        sys.exit(f"rollout: {binary} is not there: `make bench-rollout` builds it")
    return Trial(binary, QUICK if chosen.quick else Plan(), chosen.by)


if __name__ == "__main__":
    sys.exit(main())
