"""One package whose releases follow one another in a running PAR."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench import cores

from . import packages
from .caller import Watch
from .host import Host, launch
from .plan import By, Trial, Unexpected
from .registry import INDEX, Entry, Folder, index

NAME = "rollout"
PATH = f"/agents/{NAME}-run/invoke"
# Releases differ in code alone; this is what all of them need.
WHEELS = 2
GOOD_OUTCOMES = {"mounted", "updated"}
LOADED = f"{NAME}.apkg"
NEVER = "3600s"


@dataclass(frozen=True)
class Stage:
    """A PAR that serves a release."""

    trial: Trial
    host: Host
    folder: Folder

    def watch(self, pause: float = 0.0) -> Watch:
        """Keep asking which release answers."""
        return Watch(self.host.port, PATH, pause)

    def build(self, releases: Iterable[int]) -> None:
        """Make these before they are published: what that takes is not taken from callers meanwhile."""
        for release in releases:
            _content(self.trial.by, release)

    def publish(self, release: int) -> None:
        """Put a release where PAR finds it, and do not tell."""
        _publish(self.folder, self.trial.by, release)

    def bring(self) -> None:
        """Tell PAR, and return when the rollout has ended well."""
        if self.trial.by == "load":
            order = {"path": str(self.folder.path / LOADED), "force": True}
            answer = self.host.operate("/runtime/packages/load", order)
            if answer.status != 200:
                raise Unexpected(f"load: {answer.status} {answer.body[:500]!r}")
            return
        answer = self.host.operate("/runtime/reload", {})
        if answer.status != 200:
            raise Unexpected(f"reload: {answer.status} {answer.body[:500]!r}")
        outcomes = [each["outcome"] for each in answer.json["packages"] if each.get("package") == NAME]
        if not set(outcomes) & GOOD_OUTCOMES:
            raise Unexpected(f"reload: {answer.body[:500]!r}")


@contextmanager
def stage(trial: Trial, interval: str = NEVER, apart: bool = False) -> Iterator[Stage]:
    """Start PAR with release 0 and wait until that answers; end it when the block ends.

    `apart`: it gets one half of the processors, and callers get the other.
    """
    home = Path(tempfile.mkdtemp(prefix="rollout-"))
    folder = Folder(home / "registry")
    folder.path.mkdir()
    packages.wheelhouse(home / "wheels")
    # The first release is there before the index is read for the first time.
    _publish(folder, trial.by, 0)
    env = {"WHEELHOUSE_DIR": str(home / "wheels")}
    if trial.by == "index":
        env |= {"REGISTRY_URL": str(folder.path / INDEX), "REGISTRY_POLL_INTERVAL": interval}
    config = {"packages": {"load_roots": [str(folder.path)]}}
    with ExitStack() as stack:
        with cores.lower_half() if apart else nullcontext():
            host = stack.enter_context(launch(trial.binary, env, config, home=home))
        if apart:
            stack.enter_context(cores.upper_half())
        host.server.wait(host.ready)
        made = Stage(trial, host, folder)
        if trial.by == "load":
            made.bring()
        with made.watch(0.002) as watch:
            watch.settle(0, 60.0)
        yield made


def _publish(folder: Folder, by: By, release: int) -> None:
    content = _content(by, release)
    if by == "load":
        folder.put(LOADED, content)
        return
    entry = Entry(NAME, _version(by, release), content)
    folder.put(entry.file, entry.content)
    folder.put(INDEX, index([entry]))


@cache
def _content(by: By, release: int) -> bytes:
    return packages.release(NAME, _version(by, release), release, WHEELS)


def _version(by: By, release: int) -> str:
    # `force` replaces a package of the same id.
    return "1.0.0" if by == "load" else f"1.0.{release}"
