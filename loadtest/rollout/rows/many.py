"""Many mounted packages that nobody calls: what they cost in memory, and what polling their index costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench import process
from bench.client import ask, post
from bench.plan import Result, Verdict, at_most, no_errors

from .. import packages, s3
from ..host import Host, launch
from ..plan import Trial, Unexpected
from ..registry import INDEX, Entry, index
from ..s3 import Fetch

ASKED_MB = 25.0
INTERVAL_SECONDS = 1.0
NOT_MODIFIED = 304


def many(trial: Trial) -> Result:
    """An index in S3, polled every second, whose packages need the standard library alone."""
    count = trial.plan.packages
    result = Result("many", f"{count} mounted packages, idle", ["what", "value"])
    entries = [Entry(f"small-{n:03}", "1.0.0", packages.small(f"small-{n:03}", n)) for n in range(count)]
    with s3.serve() as bucket:
        for entry in entries:
            bucket.put(f"many/{entry.file}", entry.content)
        bucket.put(f"many/{INDEX}", index(entries))
        env = {
            **bucket.env,
            "REGISTRY_URL": bucket.url(f"many/{INDEX}"),
            "REGISTRY_POLL_INTERVAL": f"{INTERVAL_SECONDS:g}s",
            "MAX_PACKAGES": str(count),
        }
        with launch(trial.binary, env, {}) as host:
            host.server.wait(host.ready)
            mounted = time.perf_counter() - host.begun
            trial.say(f"many: {count} packages mounted after {mounted:.1f} s")
            wrong = _wrong_answers(host, entries)
            host.calm()
            memory = _Memory(host.server.pid)
            since = bucket.now()
            time.sleep(INTERVAL_SECONDS * trial.plan.polls)
            polls = bucket.fetches(since)
    each = memory.whole / count
    result.lines = [
        ["process start to all mounted", f"{mounted:.1f} s"],
        ["gateway, PSS", f"{memory.gateway:.1f} MB"],
        [f"a template, PSS, mean of {len(memory.templates)}", f"{_mean(memory.templates):.1f} MB"],
        [f"a worker, PSS, mean of {len(memory.workers)}", f"{_mean(memory.workers):.1f} MB"],
        ["all processes, PSS", f"{memory.whole:,.0f} MB"],
        ["all processes, PSS ÷ packages", f"{each:.1f} MB"],
        ["index polls, of that answered 304", f"{len(polls)}, {_unchanged(polls)}"],
    ]
    fetched = sum(not fetch.key.endswith(INDEX) for fetch in polls)
    result.verdicts = [
        no_errors("every package answers", wrong),
        at_most("idle PSS per package", each, ASKED_MB, " MB"),
        Verdict("templates and workers", f"{count} and {count}", memory.census, memory.complete(count)),
        Verdict(
            "polls of an unchanged index that were answered 304",
            "all",
            f"{_unchanged(polls)} of {len(polls)}",
            bool(polls) and _unchanged(polls) == len(polls),
        ),
        Verdict("packages fetched by these polls", "0", str(fetched), fetched == 0 and bool(polls)),
    ]
    result.raw = {
        "gateway_mb": memory.gateway,
        "template_mb": memory.templates,
        "worker_mb": memory.workers,
        "polls": [[fetch.key, fetch.status] for fetch in polls],
        "mounted_seconds": mounted,
    }
    return result


class _Memory:
    """Proportional set sizes in MB. A template has children, a worker has none."""

    def __init__(self, root: int) -> None:
        family = process.tree(root)
        parents = {member.parent for member in family}
        sizes = {member.pid: process.pss_mb(member.pid) for member in family}
        self.gateway = sizes[root]
        self.templates = [sizes[each.pid] for each in family if each.pid in parents and each.pid != root]
        self.workers = [sizes[each.pid] for each in family if each.pid not in parents and each.pid != root]
        self.whole = sum(sizes.values())

    @property
    def census(self) -> str:
        """How many there are, for people."""
        return f"{len(self.templates)} and {len(self.workers)}"

    def complete(self, packages: int) -> bool:
        """Whether every package has its template and one worker: nothing was spared."""
        return len(self.templates) == packages == len(self.workers)


def _wrong_answers(host: Host, entries: Sequence[Entry]) -> int:
    wrong = 0
    for number, entry in enumerate(entries):
        answer = ask(host.port, post(f"/agents/{entry.name}-run/invoke", {"a": "few words"}))
        wrong += answer.status != 200 or answer.json["release"] != number
    if wrong == len(entries):
        raise Unexpected(f"no package answers: {host.look('/runtime/packages')}"[:2000])
    return wrong


def _unchanged(polls: Sequence[Fetch]) -> int:
    return sum(fetch.key.endswith(INDEX) and fetch.status == NOT_MODIFIED for fetch in polls)


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else float("nan")
