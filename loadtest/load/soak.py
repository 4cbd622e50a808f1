"""Hours at half of what saturates it: does anything grow?"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .host import Host
from .report import STYLE
from .run import Seen

# The beginning is not counted: what is kept warm fills up.
WARM = 0.1
# What may be left of a slope over the whole time, in the unit of each: half of it would be noise of the measurement, twice
# as much would be a leak that fills a small machine in a month.
MOST = {"rss_mb": 16.0, "descriptors": 16.0, "processes": 2.0}
# p99 of the last third over that of the first.
MOST_SLOWER = 1.5
# Of the calls that were due, so many were made: else the load was another one.
LEAST_RATE = 0.95


@dataclass(frozen=True)
class Sample:
    """A minute of it."""

    seconds: float
    rss_mb: float
    descriptors: float
    processes: float
    #: In milliseconds, of a caller with a hundred calls a second, from when each was due.
    p99: float
    #: Calls a second.
    rate: float
    failed: int


def soak(
    host: Host, hours: float, step: int, one: Callable[[int], tuple[Seen, Seen]], say: Callable[[str], None]
) -> list[Sample]:
    """Run `one`, a load and a caller beside it, for `step` seconds again and again; a sample after each."""
    begun = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() - begun < hours * 3600:
        load, caller = one(step)
        at = time.monotonic() - begun
        failed = load.failed + caller.failed
        sample = Sample(
            at, host.rss_mb(), host.descriptors(), host.processes(), caller.p99, load.rate, failed
        )
        samples.append(sample)
        say(
            f"soak {at / 60:.0f} min: {sample.rate:,.0f}/s, p99 {sample.p99:.1f} ms, {sample.rss_mb:.0f} MB, "
            f"{sample.descriptors:.0f} files, {sample.processes:.0f} processes, {sample.failed} failed"
        )
    return samples


def verdicts(samples: Sequence[Sample], rate: float) -> dict[str, bool]:
    """What has to hold at the end of a soak with so many calls a second."""
    kept = samples[math.ceil(len(samples) * WARM) :]
    if len(kept) < 3:
        return {"at least three samples after the beginning": False}
    found = {"no call fails": not any(sample.failed for sample in samples)}
    for name, most in MOST.items():
        grown = growth([sample.seconds for sample in kept], [getattr(sample, name) for sample in kept])
        found[f"{name} grows by {grown:+.1f}, at most {most:g}"] = grown <= most
    third = len(kept) // 3
    first, last = _median(kept[:third]), _median(kept[-third:])
    found[f"p99 of the last third {last:.1f} ms, of the first {first:.1f} ms"] = last <= first * MOST_SLOWER
    made = sorted(sample.rate for sample in kept)[len(kept) // 2]
    found[f"{made:,.0f} calls a second of {rate:,.0f} that were due"] = made >= rate * LEAST_RATE
    return found


def beside(others: Mapping[str, Seen]) -> dict[str, bool]:
    """What has to hold of calls of other kinds, made all the time."""
    return {
        f"{seen.calls:,} calls {kind}, {seen.failed} failed": bool(seen.calls) and not seen.failed
        for kind, seen in others.items()
    }


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """How much the line through all points rises from the first to the last."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    rise = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True))
    return rise / spread * (times[-1] - times[0]) if spread else 0.0


def _median(samples: Sequence[Sample]) -> float:
    return sorted(sample.p99 for sample in samples)[len(samples) // 2]


def write(folder: Path, about: dict[str, object], samples: Sequence[Sample], held: dict[str, bool]) -> None:
    """JSON for machines, a page and a picture for people."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"about": about, "held": held, "samples": [asdict(sample) for sample in samples]}
    (folder / "soak.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "soak.svg").write_text(picture(samples))
    (folder / "soak.md").write_text(page(about, samples, held))


def page(about: dict[str, object], samples: Sequence[Sample], held: dict[str, bool]) -> str:
    """What held, and a line for every tenth of the time."""
    lines = ["# Soak", "", "Written by `make soak`: " + " · ".join(f"{k} {v}" for k, v in about.items()), ""]
    lines += ["![p99, memory, descriptors and processes over the time](soak.svg)", ""]
    lines += [f"- {'holds' if fine else '**does not hold**'}: {what}" for what, fine in held.items()]
    lines += ["", "| minute | calls/s | failed | p99 ms | RSS MB | descriptors | processes |"]
    lines += ["|---|---|---|---|---|---|---|"]
    # The last one always, and about ten before it.
    step = max(1, len(samples) // 10)
    for each in reversed(samples[::-1][::step]):
        lines.append(
            f"| {each.seconds / 60:.0f} | {each.rate:,.0f} | {each.failed} | {each.p99:.2f} | {each.rss_mb:.1f} "
            f"| {each.descriptors:.0f} | {each.processes:.0f} |"
        )
    return "\n".join(lines) + "\n"


def picture(samples: Sequence[Sample]) -> str:
    """A curve for each of what may grow, each on a scale of its own that begins at nothing."""
    wide, high, left = 860, 90, 170
    names = {"p99": "p99, ms", "rss_mb": "RSS, MB", "descriptors": "descriptors", "processes": "processes"}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high * len(names) + 24}" role="img">',
        "<title>p99, memory, descriptors and processes over the time</title>",
        f"<style>{STYLE}polyline{{fill:none;stroke:#2563eb;stroke-width:2}}</style>",
    ]
    last = samples[-1].seconds if samples else 1.0
    for row, (name, title) in enumerate(names.items()):
        values = [float(getattr(sample, name)) for sample in samples]
        most = max([*values, 0.1])
        bottom = high * (row + 1)
        points = (
            f"{left + sample.seconds / last * (wide - left - 20):.1f},{bottom - value / most * (high - 20):.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        lines.append(
            f'<text x="{left - 12}" y="{bottom - 30}" text-anchor="end">{title}, to {most:.4g}</text>'
        )
        lines.append(f'<polyline points="{" ".join(points)}"/>')
    lines.append(
        f'<text x="{wide - 20}" y="{high * len(names) + 18}" text-anchor="end">{last / 60:.0f} minutes</text></svg>'
    )
    return "\n".join(lines) + "\n"
