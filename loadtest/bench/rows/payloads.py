"""Echo of larger bodies: what parsing, passing on and writing them takes."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from ..generators import Load, wrk
from ..plan import Bench, Result, Subject, median_load, no_errors

CONNECTIONS = 16
#: BentoML's echo takes the fields of the small body only.
WITHOUT = ("bentoml",)
KILO = 1000
SIZES = {"10 KB": 10 * KILO, "1 MB": KILO * KILO}


def payloads(bench: Bench) -> Result:
    """All servers in turn; texts, numbers and nesting as answers of models have them."""
    header = ["server", "body", "requests/s", "p50 ms", "p99 ms", "CPU ms/request"]
    result = Result("payloads", f"Echo of larger bodies, {CONNECTIONS} connections", header)
    own: list[Subject] = [bench.par] if bench.par else []
    subjects: list[Subject] = [*own, *(peer for peer in bench.peers if peer.name not in WITHOUT)]
    seen: dict[tuple[str, str], list[Load]] = defaultdict(list)
    with TemporaryDirectory(prefix="par-bench-") as folder:
        bodies = {name: _file(Path(folder), size) for name, size in SIZES.items()}
        _measure(bench, subjects, bodies, seen)
    for (name, title), loads in seen.items():
        load = median_load(loads)
        times = [f"{value / 1000:,.2f}" for value in (load.p50, load.p99, load.cpu_us)]
        result.lines.append([title, name, f"{load.rate:,.0f}" if not load.failed else "failed", *times])
        result.raw[f"{title}, {name}"] = [asdict(load) for load in loads]
    result.lines.sort(key=lambda cells: list(SIZES).index(cells[1]))
    if bench.par:
        errors = sum(load.errors for (_, title), loads in seen.items() if title == "PAR" for load in loads)
        result.verdicts = [no_errors("every larger body came back", errors)]
    return result


def _measure(
    bench: Bench,
    subjects: list[Subject],
    bodies: dict[str, str],
    seen: dict[tuple[str, str], list[Load]],
) -> None:
    for number in range(1, bench.plan.handler_rounds + 1):
        for subject in subjects:
            with subject.serve("echo") as server:
                for name, text in bodies.items():
                    load = wrk(
                        server,
                        subject.path("echo"),
                        text,
                        CONNECTIONS,
                        bench.plan.handler_seconds,
                        bench.plan.warm_up,
                    )
                    seen[name, subject.title].append(load)
        bench.say(f"payloads {number}/{bench.plan.handler_rounds}: done")


def _file(folder: Path, size: int) -> str:
    file = folder / f"{size}.json"
    file.write_text(body(size))
    return f"@{file}"


def body(size: int) -> str:
    """A JSON object of about so many bytes; the same in every run."""
    chance = random.Random(size)
    rows: list[dict[str, object]] = []
    length = 0
    while length < size:
        row = {
            "id": len(rows),
            "score": round(chance.random(), 6),
            "tags": [f"tag-{chance.randrange(100)}" for _ in range(3)],
            "text": " ".join(f"word{chance.randrange(1000)}" for _ in range(8)),
        }
        length += len(json.dumps(row, separators=(",", ":"))) + 1
        rows.append(row)
    return json.dumps({"rows": rows}, separators=(",", ":"))
