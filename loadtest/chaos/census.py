"""What there is of PAR at a moment: processes, descriptors, sockets, temporary files; and what is left of it at the end."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import process

from .host import templates, workers

PR_SET_CHILD_SUBREAPER = 36
# What may grow below the data directory: it is bounded by keys of the configuration, and not by how much is going on.
KEPT = frozenset({"usage", "packages", "environments", "worker", "installer", "kits"})
# Names that each process draws anew, and those of versions.
CHANGES = re.compile(r"(?<=^run/)[0-9a-f]{32}|(?<=@)[0-9.]+-[0-9a-f]{12}")


@dataclass(frozen=True)
class Census:
    """Counts at a moment of rest."""

    templates: int
    workers: int
    others: int
    descriptors: int
    sockets: int
    # Sorted; those of one package and of one process have the same names, whatever its version.
    files: tuple[str, ...]


def census(par: int, data: Path, temporary: Path) -> Census:
    """Count now."""
    links = _links(par)
    everyone = len(process.tree(par))
    served = (len(templates(par)), len(workers(par)))
    return Census(
        *served,
        others=everyone - 1 - sum(served),
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        files=tuple(sorted([*_files(data), *(f"TMPDIR/{path}" for path in _files(temporary))])),
    )


def adopt() -> None:
    """From now on whatever loses its parent below us becomes our child, so that it is seen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def orphans(data: Path) -> list[int]:
    """Processes of this data directory that have lost their PAR and live on."""
    mark = str(data).encode()
    found = []
    for entry in process.tree(os.getpid()):
        if entry.parent != os.getpid():
            continue
        with suppress(OSError):
            if mark in Path(f"/proc/{entry.pid}/cmdline").read_bytes():
                found.append(entry.pid)
    return found


def bury(children: frozenset[int]) -> None:
    """Take note of adopted processes that have ended, but not of our own `children`."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in children:
            continue
        with suppress(OSError, ValueError):
            text = Path(f"/proc/{name}/stat").read_text()
            state, parent = text[text.rindex(")") + 2 :].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                os.waitpid(int(name), os.WNOHANG)


def end(pids: list[int]) -> None:
    """End what is left, each by its number."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _links(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            found.append(str(Path(f"/proc/{pid}/fd/{name}").readlink()))
    return found


def _files(folder: Path) -> list[str]:
    found = []
    for where, folders, names in os.walk(folder):
        place = Path(where).relative_to(folder)
        if place == Path():
            folders[:] = [name for name in folders if name not in KEPT]
        found += [str(place / name) for name in names]
        found += [f"{place / name}/" for name in folders]
    return [CHANGES.sub("*", name) for name in found]
