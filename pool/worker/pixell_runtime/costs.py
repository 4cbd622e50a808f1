"""What a call costs the machine.

Enters: how long it took. Leaves: the processor time and memory that its answer tells. Reading a clock of the processor
is a system call, which costs up to 1 µs on virtual machines: more than all else that is measured of a short call.
"""

from __future__ import annotations

from resource import RUSAGE_SELF, getrusage

#: Calls that took longer than this also tell the most memory that their process has had so far.
LONG_NANOSECONDS = 10_000_000

#: So many calls of an export are timed by the processor's clock after one that was long: those that may be long again.
TIMED = 64


def peak_rss_kb(took: int) -> int:
    """The most memory of the process so far, in KiB; 0 for a short call. `took` is in nanoseconds."""
    return getrusage(RUSAGE_SELF).ru_maxrss if took > LONG_NANOSECONDS else 0
