"""`make capacity`: measure points, fit the model, hold it against points that it has not seen, and say what follows.

0: written; 2: cannot run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import report, tools
from bench.par import Par
from bench.plan import Result

from . import model, points

CHECKOUT = Path(__file__).parents[2]
RESULTS = CHECKOUT / "loadtest" / "results" / "capacity"
#: Measured, and kept from the fit: what a model says of them it has not been told.
UNSEEN_CALLERS = (4, 64)
UNSEEN_PACKAGES = (25,)
CORES = (2, 4, 8)
NODES = (1, 8, 64, 1000)
#: A machine is planned for so much of what it carries: queues grow without bound towards all of it.
PLANNED = 0.7


@dataclass(frozen=True)
class Plan:
    """How much was measured."""

    rounds: int = points.ROUNDS
    seconds: int = points.SECONDS


def main() -> int:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(prog="capacity", description=__doc__)
    parser.add_argument("--par", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    chosen = parser.parse_args()
    try:
        tools.prepare()
    except tools.Missing as missing:
        print(f"capacity: {missing}", file=sys.stderr)
        return 2
    par = Par(chosen.par.absolute())
    about = report.machine(par.binary, Plan())
    results = _results(par)
    preface = (
        "One core: PAR alone on it, the load generator on the other. Two cores: both share them, as everywhere "
        "else in these results, and the model is told what a call costs the generator. What the model has not "
        "seen is marked: those points were kept from the fit."
    )
    report.write_named(chosen.results, "capacity", preface, about, results)
    print(f"capacity: results in {chosen.results}")
    return 0


def _say(text: str) -> None:
    print(f"capacity: {text}", flush=True)


def _results(par: Par) -> list[Result]:
    loaded = list(points.echoes(par, _say))
    alone = next(each.point for each in loaded if each.point.callers == 1 and each.point.cores == 1)
    seen = [each.point for each in loaded if each.point.callers not in UNSEEN_CALLERS]
    costs = model.costs(seen, idle_us=1e6 / alone.rate)
    hosted = list(points.hosted(par, _say))
    memory = model.memory(
        [(each.packages, each.mb) for each in hosted if each.packages not in UNSEEN_PACKAGES],
        points.worker_mb(par),
    )
    timed = list(points.timed(par, _say))
    return [
        _fitted(costs, memory),
        _echoes(costs, loaded),
        _timed(costs, timed),
        _hosted(memory, hosted),
        _predicted(costs),
    ]


def _fitted(costs: model.Costs, memory: model.Memory) -> Result:
    result = Result("fit", "The model's constants", ["what", "value"])
    result.lines = [
        ["time of an idle call, r", f"{costs.idle_us:.0f} µs"],
        ["processor time of a call among many, a", f"{costs.shared_us:.1f} µs"],
        ["what a call alone takes more, b", f"{costs.alone_us:.1f} µs"],
        ["lost to each other core, d", f"{costs.contention:.1%}"],
        ["memory of the runtime, m0", f"{memory.runtime_mb:.1f} MB"],
        ["of a package with one worker, m1", f"{memory.package_mb:.1f} MB"],
        ["of a further worker, m2", f"{memory.worker_mb:.1f} MB"],
    ]
    result.raw = {"costs": asdict(costs), "memory": asdict(memory)}
    return result


def _echoes(costs: model.Costs, loaded: list[points.Loaded]) -> Result:
    header = ["cores", "callers", "calls/s", "predicted", "off", "CPU µs/call", "predicted ", "not seen"]
    result = Result("echo", "A handler that does nothing", header)
    for each in loaded:
        point = each.point
        other = each.other_us if point.cores > 1 else 0.0
        rate = costs.rate(point.callers, point.cores, other_us=other)
        result.lines.append(
            [
                f"{point.cores}",
                f"{point.callers}",
                f"{point.rate:,.0f}",
                f"{rate:,.0f}",
                f"{model.off(rate, point.rate):+.0%}",
                f"{point.cpu_us:.1f}",
                f"{costs.cpu_us(point.callers, point.cores):.1f}",
                "yes" if point.callers in UNSEEN_CALLERS else "",
            ]
        )
    result.raw = {"points": [asdict(each) for each in loaded]}
    return result


def _timed(costs: model.Costs, timed: list[tuple[str, int, points.Loaded]]) -> Result:
    header = ["handler", "callers", "calls/s", "predicted", "off"]
    result = Result("timed", "Handlers that compute or wait, two cores, none seen by the model", header)
    for kind, us, each in timed:
        point = each.point
        busy, wait = (float(us), 0.0) if kind == "cpu" else (0.0, float(us))
        rate = costs.rate(point.callers, point.cores, busy, wait, each.other_us)
        name = f"{'computes' if kind == 'cpu' else 'waits'} {us / 1000:g} ms"
        off = f"{model.off(rate, point.rate):+.0%}"
        result.lines.append([name, f"{point.callers}", f"{point.rate:,.0f}", f"{rate:,.0f}", off])
    result.raw = {"points": [{"handler": kind, "us": us, **asdict(each)} for kind, us, each in timed]}
    return result


def _hosted(memory: model.Memory, hosted: list[points.Hosted]) -> Result:
    header = ["packages", "MB", "predicted", "off", "ready after", "echoes/s beside them", "not seen"]
    result = Result("packages", "Packages side by side, one worker each", header)
    for each in hosted:
        mb = memory.mb(each.packages)
        result.lines.append(
            [
                f"{each.packages}",
                f"{each.mb:.0f}",
                f"{mb:.0f}",
                f"{model.off(mb, each.mb):+.0%}",
                f"{each.ready_ms / 1000:.1f} s",
                f"{each.rate:,.0f}",
                "yes" if each.packages in UNSEEN_PACKAGES else "",
            ]
        )
    result.raw = {"points": [asdict(each) for each in hosted]}
    return result


def _predicted(costs: model.Costs) -> Result:
    header = [
        "handler computes",
        *(f"{cores} cores" for cores in CORES),
        *(f"{n} nodes of 2" for n in NODES[1:]),
    ]
    title = f"Predicted calls a second at {PLANNED:.0%} of what a machine carries, 64 callers a node"
    result = Result("predicted", title, header)
    for busy in (0.0, 100.0, 1_000.0, 10_000.0):
        rates = [PLANNED * cores / (costs.cpu_us(64, cores) + busy) * 1e6 for cores in CORES]
        fleet = [rates[0] * nodes for nodes in NODES[1:]]
        result.lines.append([f"{busy / 1000:g} ms", *(f"{rate:,.0f}" for rate in [*rates, *fleet])])
    result.notes = ["More than two cores, and more than one node, are computed and not measured."]
    return result


if __name__ == "__main__":
    sys.exit(main())
