"""The promises, each with a checker of its own. Pure: what was seen enters, what is wrong with it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .calls import Seen
from .census import Census
from .host import Life
from .outcomes import ALWAYS, OK, STATUS, Ask, Window, active, allowed
from .plan import BAD_RELEASES, ENDS_PAR, RECOVERY, Kind

# Outcomes that nobody pays for: what the runtime itself has done wrong.
NOT_BILLED = frozenset(
    {
        "internal",
        "worker_crashed",
        "queue_full",
        "not_ready",
        "agent_disabled",
        "crash_loop",
        "stopping",
        "metering_unavailable",
    }
)
# Whoever gets one of these was let in, so that it is on record; the others may be, or not.
RECORDED = frozenset({OK, "agent_error", "internal", "worker_crashed", "deadline_exceeded"})
# Letters that tell which version is live.
LIVE = frozenset({"package.mounted", "package.updated", "package.rolled_back"})
# Descriptors and sockets that come and go by themselves: kept connections to S3 and the others.
SLACK = 6


@dataclass(frozen=True)
class Finding:
    """One promise: what was looked at, and everything that breaks it."""

    name: str
    promise: str
    looked_at: str
    broken: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return not self.broken


@dataclass(frozen=True)
class Record:
    """A call in the ledger's journal."""

    request: str
    tenant: str
    outcome: str
    depth: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Record:
        """A line of `par usage --calls` whose kind is `call`."""
        return cls(told["request_id"], told["tenant"], told["outcome"], int(told["depth"]))


def answers(seen: Sequence[Seen]) -> Finding:
    """Each request carries a computation."""
    right = sum(each.code == OK for each in seen)
    broken = [f"{each.call.nonce} ({each.call.ask}): {each.wrong}" for each in seen if each.wrong]
    return Finding(
        "answers", "no answer is wrong", f"{right:,} answers of {len(seen):,} requests", _all(broken)
    )


def callers(seen: Sequence[Seen]) -> Finding:
    """Each answer carries the nonce of its request and the tenant of its token."""
    broken = [each.stranger for each in seen if each.stranger]
    nobody = [each for each in seen if each.call.ask in (Ask.FORGED, Ask.FORBIDDEN)]
    broken += [f"{each.call.nonce} ({each.call.ask}) was answered" for each in nobody if each.status == 200]
    text = f"{len(seen):,} requests, {len(nobody):,} of them of strangers"
    return Finding("callers", "no answer goes to the wrong caller", text, _all(broken))


def outcomes(seen: Sequence[Seen], windows: Sequence[Window]) -> Finding:
    """A failure is right only if a fault was there that explains it."""
    broken = []
    for each in seen:
        if each.code in ALWAYS[each.call.ask] and each.status == STATUS[each.code]:
            continue
        faults = active(windows, each.sent, each.received)
        fits = each.code in allowed(each.call.ask, faults)
        # What fails behind the first item of a stream has the status of the stream.
        status = each.status in (STATUS.get(each.code), 200 if each.call.ask is Ask.ITEMS else None)
        if not fits or not status:
            names = ", ".join(sorted(faults)) or "no fault"
            broken.append(
                f"{each.sent:.2f}–{each.received:.2f} s {each.call.nonce} ({each.call.ask}): "
                f"{each.status} {each.code} during {names}"
            )
    failed = Counter(each.code for each in seen if each.code not in ALWAYS[each.call.ask])
    text = ", ".join(f"{count:,} {code}" for code, count in failed.most_common()) or "nothing failed"
    return Finding("outcomes", "only what the faults explain fails", text, _all(broken))


def sessions(miscounted: Sequence[str], seen: Sequence[Seen]) -> Finding:
    """A session counts its calls: what it forgets it says."""
    calls = sum(each.call.ask is Ask.COUNT for each in seen)
    lost = sum(each.code == "session_lost" for each in seen)
    text = f"{calls:,} calls in sessions, {lost:,} times a loss was told"
    return Finding("sessions", "no session forgets silently", text, _all(miscounted))


def usage(seen: Sequence[Seen], records: Sequence[Record]) -> Finding:
    """Each answer is recorded once, with its tenant and its outcome, and nothing else is."""
    outer: dict[str, list[Record]] = {}
    inner: Counter[str] = Counter()
    for record in records:
        if record.depth:
            inner[record.request] += 1
        else:
            outer.setdefault(record.request, []).append(record)
    broken = []
    for each in seen:
        name = each.call.nonce
        found = outer.pop(name, [])
        if len(found) > 1:
            broken.append(f"{name} is recorded {len(found)} times")
        elif not found and each.code in RECORDED:
            broken.append(f"{name} was answered {each.code} at {each.received:.2f} s and is not recorded")
        elif found and each.call.ask in (Ask.FORGED, Ask.FORBIDDEN):
            broken.append(f"{name} ({each.call.ask}) is charged to {found[0].tenant}")
        elif found and found[0].tenant != each.call.tenant:
            broken.append(f"{name} of {each.call.tenant} is charged to {found[0].tenant}")
        elif found and each.code in RECORDED and found[0].outcome != each.code:
            broken.append(f"{name} was answered {each.code} and is recorded as {found[0].outcome}")
        nested = inner.pop(name, 0)
        if nested > 1 or (each.call.ask is Ask.NESTED and each.code == OK and nested != 1):
            broken.append(f"{name}: its call of another agent is recorded {nested} times")
    broken += [f"{name} is recorded and was never sent" for name in [*outer, *inner]]
    text = f"{len(records):,} records"
    return Finding("usage", "every answer is recorded once", text, _all(broken))


def billing(
    records: Sequence[Record], summed: Mapping[str, int], billed: Mapping[str, int], repeated: int
) -> Finding:
    """By tenant: requests on record, in the ledger's sums, and at the billing side."""
    counted = Counter(record.tenant for record in records)
    owed = Counter(record.tenant for record in records if record.outcome not in NOT_BILLED)
    broken = []
    for tenant in sorted({*counted, *summed, *billed}):
        if counted[tenant] != summed.get(tenant, 0):
            broken.append(f"{tenant}: {counted[tenant]:,} records, but a sum of {summed.get(tenant, 0):,}")
        if owed[tenant] != billed.get(tenant, 0):
            broken.append(f"{tenant}: {owed[tenant]:,} are to be paid, {billed.get(tenant, 0):,} are billed")
    text = f"{sum(billed.values()):,} requests billed, {repeated} events were sent again"
    return Finding("billing", "what is billed is what is recorded", text, _all(broken))


def releases(seen: Sequence[Seen], windows: Sequence[Window], good: frozenset[int], last: int) -> Finding:
    """A bad release never answers, blue serves while green fails, and in the end the last good one serves."""
    moving = [each for each in seen if each.code == OK and each.release >= 0]
    broken = [
        f"{each.call.nonce} was answered by release {each.release} at {each.received:.2f} s"
        for each in moving
        if each.release not in good
    ]
    tried = [window for window in windows if window.kind in BAD_RELEASES]
    for window in tried:
        # What it is meant to break is itself; where something else was broken meanwhile, that may be felt.
        if any(other.kind not in BAD_RELEASES and _overlap(other, window) for other in windows):
            continue
        if not any(window.begin <= each.sent and each.received <= window.end for each in moving):
            broken.append(f"nothing was answered during {window.kind} at {window.begin:.2f} s")
    # Sessions stay where they are; of the others the last to be sent tells.
    free = [each for each in moving if each.call.ask is not Ask.COUNT]
    final = max(free, key=lambda each: each.sent).release if free else -1
    if final != last:
        broken.append(f"in the end release {final} serves, the last good one is {last}")
    text = f"{len(tried)} bad releases, {len(good)} good ones, {final} serves in the end"
    return Finding("releases", "blue stays when green fails", text, _all(broken))


def letters(seen: Sequence[Seen], told: Iterable[Mapping[str, Any]]) -> Finding:
    """Of every release that has answered the receiver of webhooks is told that it is live, whatever was broken then."""
    served = {each.release for each in seen if each.code == OK and each.release >= 0}
    heard = [str(letter["data"].get("version")) for letter in told if letter["type"] in LIVE]
    broken = [
        f"release {number} has served, and nobody was told"
        for number in sorted(served)
        if not any(version.endswith(f".{number}") for version in heard)
    ]
    text = f"{len(heard)} letters about {len(served)} releases"
    return Finding("letters", "who wants to know of releases is told", text, _all(broken))


def recoveries(seen: Sequence[Seen], windows: Sequence[Window]) -> list[tuple[float, float, str]]:
    """Of each episode: when its last fault ended, how long failures were met after that, and what it was."""
    failed = [each for each in seen if each.code not in ALWAYS[each.call.ask]]
    found = []
    groups = together(windows)
    for place, group in enumerate(groups):
        end = max(window.end for window in group)
        following = (
            min(window.begin for window in groups[place + 1]) if place + 1 < len(groups) else float("inf")
        )
        # What is out when the next one begins may have met that.
        late = [each.sent for each in failed if end <= each.sent and each.received < following]
        names = " + ".join(sorted({str(window.kind) for window in group}))
        found.append((end, max(late, default=end) - end, names))
    return found


def recovery(seen: Sequence[Seen], windows: Sequence[Window]) -> Finding:
    """Nothing of a fault is felt for long after it is gone."""
    found = recoveries(seen, windows)
    broken = [
        f"{names}: over at {end:.2f} s, failures for {lasted:.2f} s more"
        for end, lasted, names in found
        if lasted > RECOVERY
    ]
    longest = max((lasted for _, lasted, _ in found), default=0.0)
    text = f"{len(found)} episodes, the longest recovery took {longest:.2f} s"
    return Finding("recovery", f"all is well {RECOVERY:g} s after the last fault", text, _all(broken))


def leaks(before: Census, after: Census, orphans: Sequence[str]) -> Finding:
    """At rest there is as much as there was at rest."""
    broken = [f"lives on without its PAR: {text}" for text in orphans]
    for what, slack in (
        ("templates", 0),
        ("workers", 0),
        ("others", 0),
        ("descriptors", SLACK),
        ("sockets", SLACK),
    ):
        was, now = getattr(before, what), getattr(after, what)
        if now > was + slack:
            broken.append(f"{what}: {was} before, {now} after")
    more = Counter(after.files) - Counter(before.files)
    broken += [f"file left: {name}" for name in sorted(more.elements())]
    text = (
        f"{after.templates} templates, {after.workers} workers, {after.descriptors} descriptors "
        f"({before.descriptors} before), {after.sockets} sockets ({before.sockets} before)"
    )
    return Finding("leaks", "nothing is left over", text, _all(broken))


def deaths(lives: Sequence[Life], windows: Sequence[Window], panics: Sequence[tuple[Life, str]]) -> Finding:
    """PAR ends when it is ended, and panics never. The standard library does where a thread's stack cannot be had."""
    starved = [window for window in windows if window.kind is Kind.PAR_MEMORY]
    broken = [
        f"panic: {text}"
        for life, text in panics
        if not any(window.begin <= life.end and life.begin <= window.end for window in starved)
    ]
    for life in lives:
        kinds = {window.kind for window in windows if window.begin <= life.end <= window.end + RECOVERY}
        # A start needs room on the disk.
        excused = kinds & {*ENDS_PAR, Kind.DISK_FULL}
        if not excused:
            broken.append(f"process {life.pid} ended at {life.end:.2f} s with {life.status}")
    return Finding(
        "deaths", "PAR ends only when it is ended", f"{len(lives)} of its processes ended", _all(broken)
    )


def together(windows: Sequence[Window]) -> list[list[Window]]:
    """Windows between which there was no time to recover belong together."""
    found: list[list[Window]] = []
    for window in sorted(windows, key=lambda window: window.begin):
        if found and window.begin < max(other.end for other in found[-1]) + RECOVERY:
            found[-1].append(window)
        else:
            found.append([window])
    return found


def _overlap(one: Window, other: Window) -> bool:
    return one.begin <= other.end + RECOVERY and other.begin <= one.end + RECOVERY


def _all(broken: Iterable[str]) -> tuple[str, ...]:
    return tuple(broken)
