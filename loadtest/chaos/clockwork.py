"""A clock of the day that can be moved for PAR alone: libfaketime, where it can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.tools import ENVIRONMENTS

NAME = "libfaketime.so.1"
PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


@dataclass(frozen=True)
class Clockwork:
    """The library, and the file in which it reads by how much the clock is wrong."""

    library: Path
    file: Path

    @property
    def env(self) -> dict[str, str]:
        """For PAR. Its workers get none of it: their environment is cleared."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            # Steady clocks and times of files stay true; a clock that is set moves neither.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }

    def set(self, seconds: int) -> None:
        """Wrong by so much from now on."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self.file)

    def clean(self, pids: Sequence[int]) -> None:
        """Remove what the library leaves in shared memory for processes that were killed."""
        for pid in pids:
            for kind in ("sem.faketime_sem", "faketime_shm"):
                with suppress(FileNotFoundError):
                    Path(f"/dev/shm/{kind}_{pid}").unlink()


def clockwork(home: Path) -> Clockwork | None:
    """The library of the system, or that of Debian's package in the cache of tools; None if there is none."""
    library = _installed() or _unpacked()
    if library is None:
        return None
    made = Clockwork(library, home / "clock")
    made.set(0)
    return made


def _installed() -> Path | None:
    for place in PLACES:
        for folder in Path("/").glob(place.lstrip("/")):
            if (folder / NAME).exists():
                return folder / NAME
    return None


def _unpacked() -> Path | None:
    """Unpack it without installing it: nothing of the system changes."""
    target = ENVIRONMENTS / "faketime"
    found = list(target.rglob(NAME))
    if not found and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        with tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run(
                ["apt-get", "download", "-qq", "libfaketime"],
                cwd=scratch,
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                check=False,
            )
            packed = list(Path(scratch).glob("*.deb"))
            if done.returncode == 0 and packed:
                subprocess.run(["dpkg-deb", "-x", str(packed[0]), str(target)], check=True)
        found = list(target.rglob(NAME))
    return found[0] if found else None
