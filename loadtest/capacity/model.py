"""The model, pure: what was measured goes in, what to expect comes out. `docs/capacity.md` says why it has this form.

Throughput of a closed loop of `N` callers on `K` cores, for a handler that computes `s` and waits `w`:

    X(N) = min( N / (r + s + w),  K / (c(N, K) + s) )        c(N, K) = (a + b / N) (1 + d (K - 1))

`r` is the time of an idle call, `a` the processor time of a call among many, `b` what a call alone cannot share with
others (reads, writes and wake-ups), `d` what a core loses to each other one. Memory of `p` packages with `f` workers
beyond the first of each:

    M(p, f) = m0 + m1 p + m2 f
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One measured load: callers, cores, calls a second, processor time of a call (µs)."""

    callers: int
    cores: int
    rate: float
    cpu_us: float


@dataclass(frozen=True)
class Costs:
    """What a call of a handler that does nothing takes, in microseconds; `contention` is a share."""

    idle_us: float
    shared_us: float
    alone_us: float
    contention: float

    def cpu_us(self, callers: int, cores: int) -> float:
        """Processor time of one call."""
        return (self.shared_us + self.alone_us / callers) * (1 + self.contention * (cores - 1))

    def rate(
        self, callers: int, cores: int, busy_us: float = 0.0, wait_us: float = 0.0, other_us: float = 0.0
    ) -> float:
        """Calls a second. `busy_us` and `wait_us` are the handler's, `other_us` what a call costs others here."""
        asked = callers / (self.idle_us + busy_us + wait_us)
        carried = cores / (self.cpu_us(callers, cores) + busy_us + other_us)
        return min(asked, carried) * 1e6


@dataclass(frozen=True)
class Memory:
    """Proportional set size in MB: of the runtime, of each package, of each further worker."""

    runtime_mb: float
    package_mb: float
    worker_mb: float

    def mb(self, packages: int, further: int = 0) -> float:
        """With so many packages and workers beyond the first of each."""
        return self.runtime_mb + self.package_mb * packages + self.worker_mb * further


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope of the line with the least squares of relative errors: small values count as much."""
    weights = [1 / (y * y) for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    if spread == 0:
        raise ValueError("a line needs two different places")
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
    return mean_y - slope * mean_x, slope


def costs(points: Sequence[Point], idle_us: float) -> Costs:
    """Fitted to loads of one core and of more."""
    alone = [point for point in points if point.cores == 1]
    shared_us, alone_us = line([(1 / point.callers, point.cpu_us) for point in alone])
    fitted = Costs(idle_us, shared_us, alone_us, 0.0)
    lost = [
        (point.cpu_us / fitted.cpu_us(point.callers, 1) - 1) / (point.cores - 1)
        for point in points
        if point.cores > 1
    ]
    # What is within the noise is nothing; a machine does not get faster by having more to share.
    contention = max(0.0, sum(lost) / len(lost)) if lost else 0.0
    return Costs(idle_us, shared_us, alone_us, contention)


def memory(packages: Sequence[tuple[int, float]], worker_mb: float) -> Memory:
    """Fitted to (packages, MB) with one worker each."""
    runtime_mb, package_mb = line([(float(count), mb) for count, mb in packages])
    return Memory(runtime_mb, package_mb, worker_mb)


def off(predicted: float, measured: float) -> float:
    """How far a prediction is off, as a share of what was measured."""
    return predicted / measured - 1


def price(dollars_per_hour: float, calls_per_minute: float) -> float:
    """Dollars for a thousand calls where a machine carries so many a minute."""
    return dollars_per_hour / (calls_per_minute * 60) * 1000
