"""The results as files: Markdown for people, JSON for machines, one chart."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import chart, tools
from .plan import Result, Verdict

MARKS = {True: "met", False: "**not met**", None: "–"}


def machine(binary: Path | None, plan: Any) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    cpu = "?"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": cpu,
        "memory": _memory(),
        "kernel": platform.release(),
        "commit": _commit(),
        "par": tools.version([str(binary), "--version"]) if binary else None,
        "wrk": tools.version(["wrk", "--version"]).partition(" [")[0],
        "oha": tools.version(["oha", "--version"]),
        "load_before": os.getloadavg()[0],
        "plan": asdict(plan),
    }


def _memory() -> str:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return f"{int(line.split()[1]) / 1024**2:.1f} GiB"
    return "?"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    commit = tools.version(["git", "-C", str(here), "rev-parse", "--short", "HEAD"])
    changed = subprocess.run(
        ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{commit} with changes" if changed.stdout else commit


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal as well."""
    rows = [list(header), *(list(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def verdicts(results: Sequence[Result]) -> str:
    """Every promise with its measurement."""
    lines = [
        [result.name, each.what, each.asked, each.measured, MARKS[each.met]]
        for result in results
        for each in result.verdicts
    ]
    return table(["row", "what", "asked", "measured", "verdict"], lines)


def broken(results: Sequence[Result]) -> list[Verdict]:
    """The promises that were not met."""
    return [each for result in results for each in result.verdicts if each.met is False]


def write(folder: Path, about: dict[str, Any], results: Sequence[Result]) -> None:
    """`bench.md`, `bench.json`, and `bench.svg` if the echo row has run."""
    preface = (
        "Servers and load generators share the same cores, servers take turns, figures are medians of "
        f"{about['plan']['rounds']} rounds. CPU is user and system time of every process of a server."
    )
    write_named(folder, "bench", preface, about, results)
    for result in results:
        if result.raw.get("chart"):
            (folder / "bench.svg").write_text(chart.draw(result.raw["chart"]))


def write_named(
    folder: Path, name: str, preface: str, about: dict[str, Any], results: Sequence[Result]
) -> None:
    """`<name>.md` for people, which says how to read it in `preface`, and `<name>.json` for machines."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(_markdown(name, preface, about, results))
    data = {"machine": about, "rows": [asdict(result) for result in results]}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _markdown(name: str, preface: str, about: dict[str, Any], results: Sequence[Result]) -> str:
    command = f"make {name}" if name in ("bench", "capacity") else f"make bench-{name}"
    keys = ("time", "cores", "cpu", "memory", "kernel", "commit", "par", "wrk", "oha")
    facts = [f"{key} {about[key]}" for key in keys]
    parts = [f"# {name.capitalize()}", f"Written by `{command}`: " + " · ".join(facts) + ".", preface]
    if about.get("peers"):
        parts.append(
            "Peers: " + "; ".join(f"{title} ({what})" for title, what in about["peers"].items()) + "."
        )
    parts += [f"**Left out**: {title}: {why}" for title, why in about.get("left_out", {}).items()]
    if any(result.verdicts for result in results):
        parts += ["## Promises", verdicts(results)]
    for result in results:
        if result.lines:
            parts += [f"## {result.title}", table(result.header, result.lines), *result.notes]
    return "\n\n".join(parts) + "\n"
