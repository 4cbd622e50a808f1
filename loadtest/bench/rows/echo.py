"""The least work there is, so that what remains is the server: throughput, latency, CPU, memory."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict

from .. import cores, process
from ..generators import Load, oha, wrk
from ..peers import ECHO_TEXT, Peer
from ..plan import Bench, Result, Subject, Verdict, at_least, at_most, median_load, no_errors

COMPARED = 32
# The same with callers on cores of their own: on shared ones what a call costs the generator is in every server's figure.
APART = f"{COMPARED} apart"
# How many times the requests per second of a peer are asked of PAR.
ASKED_RATIOS = {"gunicorn_fastapi": 4.2, "mosec": 3.6, "bare_asgi": 0.85}
ASKED_CPU_US = 36.0
ASKED_P50_US = 180.0
OPEN_RATE = 100

Measured = dict[str, list[Load]]


def echo(bench: Bench) -> Result:
    """All servers in turn, several rounds; medians."""
    subjects: list[Subject] = [*([bench.par] if bench.par else []), *bench.peers]
    measured: dict[str, Measured] = {subject.name: defaultdict(list) for subject in subjects}
    memory: dict[str, list[float]] = defaultdict(list)
    processes: dict[str, list[int]] = defaultdict(list)
    for number in range(1, bench.plan.rounds + 1):
        for subject in subjects:
            with subject.serve("echo") as server:
                path = subject.path("echo")
                seen = measured[subject.name]
                for connections in bench.plan.connections:
                    load = wrk(server, path, ECHO_TEXT, connections, bench.plan.seconds, bench.plan.warm_up)
                    seen[str(connections)].append(load)
                seen["open"].append(oha(server, path, ECHO_TEXT, OPEN_RATE, bench.plan.open_loop))
                memory[subject.name].append(process.tree_pss_mb(server.pid))
                processes[subject.name].append(len(process.tree(server.pid)))
            if cores.can_be_parted():
                seen[APART].append(_apart(bench, subject))
            last = seen[str(COMPARED)][-1]
            bench.say(
                f"echo {number}/{bench.plan.rounds} {subject.title}: {last.rate:,.0f}/s at {COMPARED}"
                f" connections, p99 {last.p99:,.0f} µs, CPU {last.cpu_us:.1f} µs per request"
            )
    each = {
        name: statistics.median(sizes) / statistics.median(processes[name]) for name, sizes in memory.items()
    }
    return _result(bench, subjects, measured, memory, each)


def _apart(bench: Bench, subject: Subject) -> Load:
    with ExitStack() as started:
        with cores.lower_half():
            server = started.enter_context(subject.serve("echo"))
        with cores.upper_half():
            path = subject.path("echo")
            return wrk(server, path, ECHO_TEXT, COMPARED, bench.plan.seconds, bench.plan.warm_up)


def _result(
    bench: Bench,
    subjects: list[Subject],
    measured: dict[str, Measured],
    memory: dict[str, list[float]],
    each: dict[str, float],
) -> Result:
    header = ["server", "load", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs/request", "PSS MB"]
    result = Result("echo", "Echo: JSON in, the same JSON out", header)
    middle = {
        name: {load: median_load(seen) for load, seen in loads.items()} for name, loads in measured.items()
    }
    apart = [APART] if cores.can_be_parted() else []
    for load in [*map(str, bench.plan.connections), *apart, "open"]:
        for subject in subjects:
            pss = statistics.median(memory[subject.name])
            result.lines.append(_line(subject.title, load, middle[subject.name][load], pss))
    result.verdicts = _verdicts(bench, middle)
    result.raw = {
        "rounds": {
            name: {load: [asdict(each) for each in seen] for load, seen in loads.items()}
            for name, loads in measured.items()
        },
        "pss_mb": dict(memory),
        "chart": [
            {"title": subject.title, "par": subject is bench.par, **asdict(middle[subject.name]["32"])}
            for subject in subjects
        ],
    }
    sizes = ", ".join(f"{subject.title} {each[subject.name]:.0f}" for subject in subjects)
    result.notes.append(f"Memory, PSS of a server over all its processes, MB for each: {sizes}.")
    result.notes.append(
        "PAR writes an access line and a usage record for every request; the peers' request logs are off."
    )
    return result


def _line(title: str, load: str, seen: Load, pss: float) -> list[str]:
    name = f"{load} connection{'s' if load != '1' else ''}"
    if load == "open":
        name = f"{OPEN_RATE}/s, open loop"
    elif load == APART:
        name = f"{COMPARED} connections, callers apart"
    if seen.failed:
        return [title, name, f"failed: {seen.errors} errors", "", "", "", "", ""]
    times = [f"{value:,.0f}" for value in (seen.p50, seen.p99, seen.p999)]
    return [title, name, f"{seen.rate:,.0f}", *times, f"{seen.cpu_us:,.1f}", f"{pss:,.0f}"]


def _verdicts(bench: Bench, middle: dict[str, dict[str, Load]]) -> list[Verdict]:
    if not bench.par:
        return []
    own = middle[bench.par.name]
    busy = own[str(COMPARED)]
    verdicts = [no_errors("every echo answered", sum(load.errors for load in own.values()))]
    verdicts += [_ratio(middle, bench.par, peer, str(COMPARED), "") for peer in bench.peers]
    if APART in own:
        where = ", half of the cores for callers"
        verdicts += [_ratio(middle, bench.par, peer, APART, where) for peer in bench.peers]
    verdicts.append(at_most(f"CPU per request, {COMPARED} connections", busy.cpu_us, ASKED_CPU_US, " µs"))
    verdicts.append(at_most("p50, 1 connection", own["1"].p50, ASKED_P50_US, " µs", 0))
    return verdicts


def _ratio(middle: dict[str, dict[str, Load]], par: Subject, peer: Peer, load: str, where: str) -> Verdict:
    own, other = middle[par.name][load], middle[peer.name][load]
    what = f"requests/s at {COMPARED} connections{where}, PAR ÷ {peer.title}"
    asked = ASKED_RATIOS.get(peer.name)
    if other.failed:
        return Verdict(what, f"{asked or '–'}", "the peer failed", None)
    if asked:
        return at_least(what, own.rate / other.rate, asked, " ×")
    return Verdict(what, "–", f"{own.rate / other.rate:,.2f} ×", None)
