"""What Linux says about a server: every process below it, their CPU time and their memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The fields of `/proc/<pid>/stat` that a bench needs."""

    pid: int
    name: str
    parent: int
    ticks: int
    started: int


def stat(pid: int) -> Stat | None:
    """One process, or None if it is gone (a zombie counts as gone)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    # utime, stime, and those of children that have ended: a worker reaped during the run still counts.
    ticks = sum(int(field) for field in fields[11:15])
    return Stat(pid, name, int(fields[1]), ticks, int(fields[19]))


def tree(root: int) -> list[Stat]:
    """`root` and all its living descendants, parents before children."""
    everyone = [entry for pid in _pids() if (entry := stat(pid))]
    children: dict[int, list[Stat]] = {}
    for entry in everyone:
        children.setdefault(entry.parent, []).append(entry)
    found = [entry for entry in everyone if entry.pid == root]
    for entry in found:
        found.extend(children.get(entry.pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of the whole tree until now."""
    return sum(entry.ticks for entry in tree(root)) / TICKS


def pss_mb(pid: int) -> float:
    """Proportional set size in MB: shared pages count by the number of their users."""
    return _smaps(pid)[0]


def private_mb(pid: int) -> float:
    """Memory in MB that would come back if only this process ended."""
    return _smaps(pid)[1]


def tree_pss_mb(root: int) -> float:
    """Proportional set size of the whole tree in MB."""
    return sum(pss_mb(entry.pid) for entry in tree(root))


def rss_mb(pid: int) -> float:
    """Resident set size in MB."""
    return _kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS:") / 1024


def peak_mb(pid: int) -> float:
    """The most that was ever resident, in MB."""
    return _kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmHWM:") / 1024


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _smaps(pid: int) -> tuple[float, float]:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    private = _kilobytes(text, "Private_Clean:") + _kilobytes(text, "Private_Dirty:")
    return _kilobytes(text, "Pss:") / 1024, private / 1024


def _kilobytes(text: str, key: str) -> int:
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0
