"""A small disk for the data directory, which can be filled without harm to the machine's own."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEGABYTES = 256
PIECE = 4096


@dataclass(frozen=True)
class Disk:
    """Where it is; `is_own`: it is a file system of its own, and may be filled."""

    path: Path
    is_own: bool

    async def full(self, seconds: float) -> None:
        """Leave no room for so long: what becomes free meanwhile is taken, too."""
        ballast = self.path / "ballast"
        end = time.monotonic() + seconds
        try:
            with ballast.open("wb") as file:
                while time.monotonic() < end:
                    _fill(file.fileno())
                    await asyncio.sleep(0.05)
        finally:
            ballast.unlink(missing_ok=True)


@contextmanager
def disk(home: Path) -> Iterator[Disk]:
    """A tmpfs, where one may be mounted; else a folder, which cannot be filled."""
    path = home / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=700", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        yield Disk(path, done.returncode == 0)
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _fill(file: int) -> None:
    step = MEGABYTES << 20
    while step >= PIECE:
        size = os.fstat(file).st_size
        try:
            os.posix_fallocate(file, size, step)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            step //= 2
