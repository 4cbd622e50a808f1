"""Hours at one rate: does anything grow?"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .host import Host
from .run import Seen

# The beginning is not counted: what is kept warm fills up.
WARM = 0.1
# What may be left of a slope over the whole time, in the unit of each: half of it would be noise of the measurement, twice
# as much would be a leak that fills a small machine in a month.
MOST = {"rss_mb": 16.0, "descriptors": 16.0, "processes": 2.0}
# p99 of the last third over that of the first.
MOST_SLOWER = 1.5


@dataclass(frozen=True)
class Sample:
    """A minute of it."""

    seconds: float
    rss_mb: float
    descriptors: float
    processes: float
    p99: float
    failed: int


def soak(
    host: Host, hours: float, step: int, one: Callable[[int], Seen], say: Callable[[str], None]
) -> list[Sample]:
    """Run `one` for `step` seconds again and again; a sample after each."""
    begun = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() - begun < hours * 3600:
        seen = one(step)
        at = time.monotonic() - begun
        sample = Sample(at, host.rss_mb(), host.descriptors(), host.processes(), seen.p99, seen.failed)
        samples.append(sample)
        say(
            f"soak {at / 60:.0f} min: {seen.rate:,.0f}/s, p99 {seen.p99:.1f} ms, {sample.rss_mb:.0f} MB, "
            f"{sample.descriptors:.0f} files, {sample.processes:.0f} processes, {seen.failed} failed"
        )
    return samples


def verdicts(samples: Sequence[Sample]) -> dict[str, bool]:
    """What has to hold at the end."""
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
    return found


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """How much the line through all points rises from the first to the last."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    rise = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True))
    return rise / spread * (times[-1] - times[0]) if spread else 0.0


def _median(samples: Sequence[Sample]) -> float:
    return sorted(sample.p99 for sample in samples)[len(samples) // 2]


def write(folder: Path, about: dict[str, object], samples: Sequence[Sample], held: dict[str, bool]) -> None:
    """For machines; what people read is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"about": about, "held": held, "samples": [asdict(sample) for sample in samples]}
    (folder / "soak.json").write_text(json.dumps(told, indent=1) + "\n")
