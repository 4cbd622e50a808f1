"""`make bench`: PAR and its peers side by side. Everything runs on loopback and ends by itself."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from . import report, tools
from .generators import MOST_CONNECTIONS
from .par import Par
from .peers import PEERS, Peer
from .plan import QUICK, Bench, Plan, Result
from .rows import COMPARING, ROWS
from .server import StartFailed

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = CHECKOUT / "loadtest" / "results"
# Above this, somebody else is using the cores and the figures say little.
QUIET = 0.7


def main() -> int:
    """0: measured and every promise met (or nothing was promised); 1: some not met; 2: cannot run."""
    chosen = _arguments()
    try:
        tools.prepare()
    except tools.Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    bench = _bench(chosen)
    about = report.machine(bench.par.binary if bench.par else None, bench.plan)
    rows = chosen.only or list(ROWS)
    if set(rows) & COMPARING:
        peers, about["left_out"] = _present(bench.peers, bench.say)
        bench = replace(bench, peers=peers)
        about["peers"] = {peer.title: peer.versions() for peer in peers}
    if about["load_before"] > QUIET:
        bench.say(f"WARNING: load average {about['load_before']:.2f}, the machine is not quiet")
    begun = time.monotonic()
    results: list[Result] = []
    for name in rows:
        bench.say(f"row {name}")
        result = ROWS[name](bench)
        results.append(result)
        if result.lines:
            print(f"\n{result.title}\n{report.table(result.header, result.lines)}\n", flush=True)
    about["minutes"] = round((time.monotonic() - begun) / 60, 1)
    report.write(chosen.results, about, results)
    if any(result.verdicts for result in results):
        print(report.verdicts(results))
    broken = report.broken(results)
    bench.say(f"{about['minutes']} minutes; {len(broken)} promises not met; results in {chosen.results}")
    return 1 if broken else 0


def _present(peers: Sequence[Peer], say: Callable[[str], None]) -> tuple[tuple[Peer, ...], dict[str, str]]:
    """Those that can be installed and answer here, and why the others are left out: one of them costs no run."""
    found, left_out = [], {}
    for peer in peers:
        try:
            with peer.serve():
                found.append(peer)
        except (tools.Missing, StartFailed) as error:
            left_out[peer.title] = str(error).partition("\n")[0]
            say(f"LEFT OUT: {peer.title}: {error}")
    return tuple(found), left_out


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round (some minutes)")
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row (repeatable)")
    parser.add_argument(
        "--peer",
        action="append",
        choices=[peer.name for peer in PEERS] + ["none"],
        help="measure against this peer only (repeatable)",
    )
    parser.add_argument("--without-par", action="store_true", help="measure the peers alone")
    parser.add_argument("--par", type=Path, help="the binary (default: the release build)")
    parser.add_argument("--rounds", type=int, help="rounds of the rows that have rounds")
    parser.add_argument("--seconds", type=int, help="length of one measurement of echo and handlers")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    return parser.parse_args()


def _bench(chosen: argparse.Namespace) -> Bench:
    plan = QUICK if chosen.quick else Plan()
    if chosen.rounds:
        plan = replace(plan, rounds=chosen.rounds, handler_rounds=chosen.rounds)
    if chosen.seconds:
        plan = replace(plan, seconds=chosen.seconds, handler_seconds=chosen.seconds)
    assert max(plan.connections) <= MOST_CONNECTIONS
    peers = tuple(peer for peer in PEERS if not chosen.peer or peer.name in chosen.peer)
    if chosen.without_par:
        return Bench(plan, None, peers)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    binary = (chosen.par or target / "release" / "par").absolute()
    if not binary.exists():
        sys.exit(f"bench: {binary} is not there: `make bench` builds it, `--without-par` does without")
    return Bench(plan, Par(binary), peers)


if __name__ == "__main__":
    sys.exit(main())
