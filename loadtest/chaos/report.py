"""What a run has shown: as JSON for machines and as a page for people."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.report import table

from .checkers import Finding
from .run import Outcome

# Of each promise that is broken, so many lines are shown; the file for machines has more.
SHOWN = 10
KEPT = 200


def write(folder: Path, about: dict[str, Any], outcome: Outcome) -> None:
    """`chaos.json` and `chaos.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.json").write_text(json.dumps(_data(about, outcome), indent=1, ensure_ascii=False) + "\n")
    (folder / "chaos.md").write_text(_page(about, outcome))


def verdicts(findings: list[Finding]) -> str:
    """Every promise and whether it holds."""
    lines = [
        [each.name, each.promise, each.looked_at, "holds" if each.holds else f"**{len(each.broken)} broken**"]
        for each in findings
    ]
    return table(["checker", "promise", "looked at", "verdict"], lines)


def _data(about: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    order = outcome.order
    return {
        "machine": about,
        "seed": order.seed,
        "seconds": order.seconds,
        "rate": order.rate,
        "skipped": outcome.skipped,
        "plan": [{**asdict(fault), "met": outcome.met.get(fault.number)} for fault in outcome.faults],
        "windows": [asdict(window) for window in outcome.windows],
        "recoveries": [
            {"over_at": round(end, 2), "seconds": round(lasted, 3), "faults": names}
            for end, lasted, names in outcome.recoveries
        ],
        "codes": outcome.codes,
        "processes_ended": outcome.lives,
        "held": outcome.held,
        "before": _census(outcome.before),
        "after": _census(outcome.after),
        "findings": [{**asdict(each), "broken": list(each.broken[:KEPT])} for each in outcome.findings],
    }


def _census(counted: Any) -> dict[str, Any]:
    return {**asdict(counted), "files": list(counted.files)}


def _page(about: dict[str, Any], outcome: Outcome) -> str:
    order = outcome.order
    facts = [f"{key} {about[key]}" for key in ("time", "cores", "cpu", "kernel", "par")]
    requests = sum(outcome.codes.values())
    parts = [
        "# Chaos",
        f"Written by `make chaos SEED={order.seed} MINUTES={order.seconds / 60:g}`: "
        + " · ".join(facts)
        + ".",
        f"{requests:,} requests at {order.rate:g} a second and in sessions, {len(outcome.faults)} faults, "
        f"{outcome.lives} processes of PAR ended; {outcome.held} requests were not sent because 400 were out.",
    ]
    parts += [f"**Skipped**: {kind}: {why}." for kind, why in outcome.skipped.items()]
    parts += ["## Promises", verdicts(outcome.findings)]
    for each in outcome.findings:
        if not each.holds:
            parts += [f"### {each.name}", "\n".join(f"* {line}" for line in each.broken[:SHOWN])]
    parts += ["## Faults", _faults(outcome), "## Answers", _codes(outcome)]
    return "\n\n".join(parts) + "\n"


def _faults(outcome: Outcome) -> str:
    times: dict[str, list[float]] = defaultdict(list)
    for _, lasted, names in outcome.recoveries:
        for name in names.split(" + "):
            times[name].append(lasted)
    lines = [
        [name, str(len(seen)), f"{statistics.median(seen):.2f}", f"{max(seen):.2f}"]
        for name, seen in sorted(times.items())
    ]
    header = ["fault", "episodes", "recovery, median s", "recovery, longest s"]
    return table(header, lines) + "\n\nRecovery: from the end of an episode's last fault to the last failure."


def _codes(outcome: Outcome) -> str:
    ordered = sorted(outcome.codes.items(), key=lambda item: -item[1])
    return table(["code", "requests"], [[code, f"{count:,}"] for code, count in ordered])
