"""From the start of the process to the first answer of a large package that lies in S3."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.plan import Result, at_most

from .. import packages, s3, steps
from ..caller import Caller
from ..host import Host, Receipt, launch
from ..plan import Trial, Unexpected
from ..registry import Entry
from ..s3 import Bucket

NAME = "large"
PATH = f"/agents/{NAME}-run/invoke"
ASKED_KNOWN_SECONDS = 1.5
ASKED_INSTALL_SECONDS = 5.0
FIRST_ANSWER_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.005


@dataclass(frozen=True)
class _Start:
    """One start: seconds to the first answer, and where they went."""

    seconds: float
    receipts: list[Receipt]


def cold(trial: Trial) -> Result:
    """Each round starts twice: with nothing at all, then with everything but the package."""
    megabytes = trial.plan.package_mb
    title = f"Cold start of {megabytes} MB from S3, {packages.WHEELS} wheels: process start to first answer"
    result = Result("cold", title, ["environment", "median s", "worst s"])
    entry = Entry(NAME, "1.0.0", packages.release(NAME, "1.0.0", 1, packages.WHEELS, megabytes))
    starts: dict[str, list[_Start]] = {"installed from a wheelhouse": [], "known": []}
    with s3.serve() as bucket:
        bucket.put(entry.file, entry.content)
        for number in range(1, trial.plan.cold_starts + 1):
            home = Path(tempfile.mkdtemp(prefix="rollout-"))
            try:
                for name, seen in starts.items():
                    seen.append(_start(trial, bucket, entry, home))
                    trial.say(f"cold {number}: {name} {seen[-1].seconds:.2f} s")
            finally:
                shutil.rmtree(home, ignore_errors=True)
    for name, seen in starts.items():
        seconds = [each.seconds for each in seen]
        result.lines.append([name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"])
        result.notes.append(f"{name}: {steps.sentence([each for start in seen for each in start.receipts])}")
        asked = ASKED_KNOWN_SECONDS if name == "known" else ASKED_INSTALL_SECONDS
        result.verdicts.append(
            at_most(f"cold start, environment {name}, worst", max(seconds), asked, " s", 2)
        )
    result.raw = {
        name: [{"seconds": each.seconds, "receipts": each.receipts} for each in seen]
        for name, seen in starts.items()
    }
    return result


def _start(trial: Trial, bucket: Bucket, entry: Entry, home: Path) -> _Start:
    """Start in `home` with an empty package store, and end it again."""
    store = home / "store"
    shutil.rmtree(store, ignore_errors=True)
    packages.wheelhouse(home / "wheels")
    env: Mapping[str, str] = {
        **bucket.env,
        "PACKAGE_CACHE_DIR": str(store),
        "WHEELHOUSE_DIR": str(home / "wheels"),
    }
    since = bucket.now()
    host = launch(trial.binary, env, {}, f"{bucket.url(entry.file)}#sha256={entry.sha256}", home=home)
    try:
        answered = _first_answer(host)
        receipts = host.receipts(NAME)
    finally:
        host.server.stop()
    _expect_download(bucket, since, entry)
    return _Start(answered - host.begun, receipts)


def _first_answer(host: Host) -> float:
    caller = Caller(host.port, PATH)
    end = time.perf_counter() + FIRST_ANSWER_SECONDS
    while time.perf_counter() < end:
        seen = caller.call()
        if seen.release == 1:
            caller.close()
            return seen.received
        time.sleep(LOOK_EVERY_SECONDS)
    tail = host.server.log.read_text(errors="replace")[-2000:]
    raise Unexpected(f"no answer after {FIRST_ANSWER_SECONDS:g} s:\n{tail}")


def _expect_download(bucket: Bucket, since: int, entry: Entry) -> None:
    fetched: Sequence[int] = [each.status for each in bucket.fetches(since) if each.key == entry.file]
    if 200 not in fetched and 206 not in fetched:
        raise Unexpected(f"the package did not come from S3: {fetched}")
