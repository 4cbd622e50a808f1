"""Plans are those of their seeds, outcomes those of the faults, and each checker notices what it is there for."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace

import pytest

if sys.version_info < (3, 11):
    pytest.skip("NOT CHECKED: chaos runs on Python 3.11", allow_module_level=True)

from chaos import checkers
from chaos.calls import Call, Seen, Session, judge, value
from chaos.census import Census
from chaos.checkers import Finding, Record
from chaos.host import Life
from chaos.outcomes import BY_FAULT, CUT, CUT_BODY, REFUSED, STATUS, Ask, Window, allowed
from chaos.packages import Release
from chaos.plan import BAD_RELEASES, ENDS_PAR, LAST_LIFE, LASTS, RECOVERY, RELEASES, Kind, episodes, plan

MINUTES = 600.0
SEEDS = range(20)


def call(nonce: str = "c1", ask: Ask = Ask.ADD, tenant: str = "amber") -> Call:
    """A request."""
    return Call(nonce, ask, tenant, (1, 2, 3), "s" if ask is Ask.COUNT else "")


def told(of: Call, **other: object) -> bytes:
    """What its agent answers, but for what is said otherwise."""
    return json.dumps(
        {"nonce": of.nonce, "tenant": of.tenant, "value": value(of), "release": 3, **other}
    ).encode()


def answered(of: Call, sent: float = 1.0, **other: object) -> Seen:
    """Its answer."""
    return judge(of, sent, sent + 0.01, 200, told(of, **other))


def failed(code: str, sent: float = 1.0, ask: Ask = Ask.ADD, nonce: str = "c1") -> Seen:
    """A request with this end."""
    return Seen(call(nonce, ask), sent, sent + 0.01, STATUS[code], code)


def record(nonce: str = "c1", tenant: str = "amber", outcome: str = "ok", depth: int = 0) -> Record:
    """A call in the journal."""
    return Record(nonce, tenant, outcome, depth)


def says(finding: Finding, text: str) -> bool:
    """Whether it is broken in one way, which this text tells."""
    return len(finding.broken) == 1 and text in finding.broken[0]


# Plans.


def test_a_plan_is_that_of_its_seed() -> None:
    assert plan(7, MINUTES) == plan(7, MINUTES)
    assert plan(7, MINUTES) != plan(8, MINUTES)


def test_every_kind_of_fault_comes_in_ten_minutes_and_what_is_left_out_does_not() -> None:
    for seed in SEEDS:
        assert {fault.kind for fault in plan(seed, MINUTES)} == set(Kind)
        kinds = {fault.kind for fault in plan(seed, MINUTES, [Kind.CLOCK, Kind.DISK_FULL])}
        assert kinds == set(Kind) - {Kind.CLOCK, Kind.DISK_FULL}


def test_a_plan_of_one_kind_has_it_once_at_a_time() -> None:
    faults = plan(1, MINUTES, [kind for kind in Kind if kind is not Kind.PAR_KILL])
    assert faults and all(len(group) == 1 for group in episodes(faults))
    assert not plan(1, MINUTES, list(Kind))


def test_each_episode_is_followed_by_time_to_recover_and_the_last_one_too() -> None:
    for seed in SEEDS:
        faults = plan(seed, MINUTES)
        groups = episodes(faults)
        assert max(len(group) for group in groups) <= 3 and len(groups) > 20
        for before, after in itertools.pairwise(groups):
            assert max(fault.end for fault in before) + RECOVERY < min(fault.at for fault in after)
        assert max(fault.end for fault in faults) + RECOVERY <= MINUTES
        for fault in faults:
            assert LASTS[fault.kind][0] <= fault.seconds <= LASTS[fault.kind][1]


def test_the_last_process_lives_long_enough_to_leak() -> None:
    for seed in SEEDS:
        late = [fault for fault in plan(seed, MINUTES) if fault.at > MINUTES * (1 - LAST_LIFE) + 2]
        assert late and not {fault.kind for fault in late} & set(ENDS_PAR)


def test_an_episode_has_one_release_at_most() -> None:
    for seed in SEEDS:
        for group in episodes(plan(seed, MINUTES)):
            assert sum(fault.kind in RELEASES for fault in group) <= 1


# Outcomes.


def test_without_a_fault_every_request_is_answered_and_strangers_are_refused() -> None:
    for ask in Ask:
        assert len(allowed(ask, frozenset())) == 1
    assert allowed(Ask.ADD, frozenset()) == {"ok"}
    assert allowed(Ask.FORGED, frozenset()) == {"unauthenticated"}
    assert allowed(Ask.FORBIDDEN, frozenset()) == {"forbidden"}


def test_no_fault_lets_a_stranger_in_or_makes_an_internal_error_right() -> None:
    everything = frozenset(Kind)
    for ask in (Ask.FORGED, Ask.FORBIDDEN):
        assert not allowed(ask, everything) & {"ok", "agent_error", "worker_crashed"}
    for ask in Ask:
        assert not allowed(ask, everything) & {"agent_not_found", "bad_request"}
        # A form alone needs a place for its file.
        assert ("internal" in allowed(ask, everything)) == (ask is Ask.DIGEST)
        assert allowed(ask, everything) <= set(STATUS)


def test_only_calls_of_sessions_may_be_told_of_a_loss() -> None:
    for kind in Kind:
        assert "session_lost" not in allowed(Ask.ADD, frozenset({kind}))
    assert "session_lost" in allowed(Ask.COUNT, frozenset({Kind.PAR_KILL}))


def test_those_on_whom_par_depends_are_not_felt_by_callers() -> None:
    for kind in (Kind.S3, Kind.ISSUER, Kind.WEBHOOK, Kind.BILLING, Kind.CLOCK, *BAD_RELEASES):
        if kind is not Kind.RELEASE_WORSE:
            assert allowed(Ask.ADD, frozenset({kind})) == {"ok"}
    # A new process has no keys yet.
    away = frozenset({Kind.PAR_KILL, Kind.ISSUER})
    assert "identity_unavailable" in allowed(Ask.ADD, away)
    assert "identity_unavailable" not in allowed(Ask.ADD, frozenset({Kind.PAR_KILL}))


def test_a_graceful_end_cuts_no_answer() -> None:
    assert CUT_BODY in BY_FAULT[Kind.PAR_KILL] and CUT_BODY not in BY_FAULT[Kind.PAR_RESTART]


def test_a_window_is_for_requests_on_their_way_and_for_the_time_to_recover() -> None:
    window = Window(Kind.PAR_KILL, 10.0, 12.0)
    assert not window.meets(8.0, 9.9)
    assert window.meets(8.0, 10.0) and window.meets(11.0, 11.1) and window.meets(12.0 + RECOVERY, 99.0)
    assert not window.meets(12.1 + RECOVERY, 99.0)


# Answers.


def test_the_answer_of_a_call_is_its_own() -> None:
    for ask in (Ask.ADD, Ask.DIGEST, Ask.NESTED):
        seen = answered(call(ask=ask))
        assert (seen.code, seen.wrong, seen.stranger, seen.release) == ("ok", "", "", 3)


def test_a_stream_is_right_only_with_all_its_items_in_their_order() -> None:
    asked = call(ask=Ask.ITEMS)
    items = [{"nonce": "c1", "tenant": "amber", "release": 3, "number": number} for number in (1, 2, 3)]

    def seen(*of: object) -> Seen:
        return judge(asked, 0.0, 1.0, 200, b"".join(json.dumps(each).encode() + b"\n" for each in of))

    assert (seen(*items).wrong, seen(*items).code) == ("", "ok")
    assert seen(*items[:2]).wrong and seen(items[1], items[0], items[2]).wrong and seen().wrong
    assert seen(items[0], items[1] | {"tenant": "birch"}, items[2]).stranger
    cut = {"$error": {"code": "worker_crashed"}}
    assert (seen(items[0], cut).code, seen(items[0], cut).wrong) == ("worker_crashed", "")
    assert seen(items[0] | {"nonce": "c2"}, cut).stranger


def test_a_wrong_answer_is_noticed() -> None:
    assert checkers.answers([answered(call())]).holds
    assert says(checkers.answers([answered(call(), value=15)]), "got 15")
    assert says(checkers.answers([judge(call(), 0.0, 1.0, 200, b"{half")]), "not what was asked for")


def test_two_answers_that_were_swapped_are_noticed() -> None:
    one, other = call("c1", tenant="amber"), call("c2", tenant="birch")
    swapped = [judge(one, 0.0, 1.0, 200, told(other)), judge(other, 0.0, 1.0, 200, told(one))]
    # Both have computed the same, so only their names and tenants tell.
    assert checkers.answers(swapped).holds
    assert len(checkers.callers(swapped).broken) == 2
    assert says(checkers.callers([answered(call(), tenant="birch")]), "of birch")
    assert says(checkers.callers([answered(call(), tenant=None)]), "of None")


def test_a_stranger_who_is_answered_is_noticed() -> None:
    for ask in (Ask.FORGED, Ask.FORBIDDEN):
        assert says(checkers.callers([answered(call(ask=ask))]), "was answered")


def test_a_failure_that_no_fault_explains_is_noticed() -> None:
    kill = [Window(Kind.WORKER_KILL, 1.0, 1.0)]
    assert checkers.outcomes([failed("worker_crashed")], kill).holds
    assert says(checkers.outcomes([failed("worker_crashed", sent=6.5)], kill), "during no fault")
    assert says(checkers.outcomes([failed(REFUSED)], kill), "refused during worker_kill")
    # The code is one thing, the status another.
    assert not checkers.outcomes([replace(failed("worker_crashed"), status=500)], kill).holds
    unknown = judge(call(), 1.0, 1.1, 502, b"<html>")
    assert says(checkers.outcomes([unknown], kill), "no problem document")


# Sessions.


def counted(count: int) -> Seen:
    """An answer of a session."""
    return answered(call(ask=Ask.COUNT), count=count)


def test_a_session_may_have_counted_what_was_not_answered_and_nothing_else() -> None:
    session = Session("s", "amber")
    assert not session.learn(counted(1)) and not session.learn(counted(2))
    session.learn(failed("deadline_exceeded", ask=Ask.COUNT))
    assert not session.learn(counted(4))
    assert "then 6" in session.learn(counted(6))
    assert session.learn(counted(6))


def test_a_session_that_forgets_silently_is_noticed() -> None:
    session = Session("s", "amber")
    session.learn(counted(1))
    session.learn(counted(2))
    session.learn(failed("worker_crashed", ask=Ask.COUNT))
    assert "then 1" in session.learn(counted(1))
    assert not checkers.sessions(["s: forgot"], []).holds


def test_a_session_that_says_so_may_begin_anew() -> None:
    session = Session("s", "amber")
    for end in ("session_lost", CUT):
        session.learn(counted(session.high + 1))
        session.learn(failed(end, ask=Ask.COUNT))
        # On a connection that was cut the loss may have been told.
        assert not session.learn(counted(1))


# Usage and billing.


def test_a_row_that_is_dropped_or_doubled_is_noticed() -> None:
    seen = [answered(call("c1")), answered(call("c2"))]
    both = [record("c1"), record("c2")]
    assert checkers.usage(seen, both).holds
    assert says(checkers.usage(seen, both[:1]), "c2 was answered ok")
    assert says(checkers.usage(seen, [*both, record("c2")]), "c2 is recorded 2 times")
    assert says(checkers.usage(seen, [*both, record("c3")]), "c3 is recorded and was never sent")


def test_what_was_never_answered_may_be_on_record_once() -> None:
    seen = [failed(CUT)]
    assert checkers.usage(seen, []).holds and checkers.usage(seen, [record()]).holds
    assert not checkers.usage(seen, [record(), record()]).holds


def test_a_record_of_somebody_else_or_with_another_end_is_noticed() -> None:
    seen = [answered(call())]
    assert says(checkers.usage(seen, [record(tenant="birch")]), "charged to birch")
    assert says(checkers.usage(seen, [record(outcome="agent_error")]), "recorded as agent_error")
    stranger = [failed("forbidden", ask=Ask.FORBIDDEN)]
    assert says(checkers.usage(stranger, [record(outcome="forbidden")]), "charged to amber")


def test_a_call_between_agents_is_recorded_once_as_well() -> None:
    seen = [answered(call(ask=Ask.NESTED))]
    inner = record(depth=1)
    assert checkers.usage(seen, [record(), inner]).holds
    assert says(checkers.usage(seen, [record()]), "recorded 0 times")
    assert says(checkers.usage(seen, [record(), inner, inner]), "recorded 2 times")


def test_an_event_that_is_lost_or_sent_twice_is_noticed() -> None:
    records = [record("c1"), record("c2"), record("c3", tenant="birch", outcome="worker_crashed")]
    summed = {"amber": 2, "birch": 1}
    assert checkers.billing(records, summed, {"amber": 2}, 0).holds
    assert says(checkers.billing(records, summed, {"amber": 1}, 0), "1 are billed")
    assert says(checkers.billing(records, summed, {"amber": 4}, 0), "4 are billed")
    assert says(checkers.billing(records, summed, {"amber": 2, "birch": 1}, 0), "birch: 0 are to be paid")
    assert says(checkers.billing(records, {"amber": 2}, {"amber": 2}, 0), "a sum of 0")


# Releases, recovery, what is left.


def test_a_bad_release_that_answers_or_takes_blue_away_is_noticed() -> None:
    green = [Window(Kind.RELEASE_IMPORT, 0.5, 5.0)]
    seen = [answered(call())]
    assert checkers.releases(seen, green, frozenset({3}), 3).holds
    assert says(checkers.releases(seen, [], frozenset({2, 4}), 3), "answered by release 3")
    assert says(checkers.releases(seen, [], frozenset({3, 4}), 4), "in the end release 3 serves")
    late = [answered(call(), sent=8.0)]
    assert says(
        checkers.releases(late, green, frozenset({3}), 3), "nothing was answered during release_import"
    )
    # Who else was broken then may be why.
    kill = Window(Kind.PAR_KILL, 0.5, 0.5)
    assert checkers.releases(late, [*green, kill], frozenset({3}), 3).holds


def test_a_release_that_is_said_to_be_bad_is() -> None:
    good = Release(4, Kind.RELEASE_GOOD)
    assert not good.is_bad and good.content() == good.content()
    for kind in BAD_RELEASES:
        assert Release(4, kind).is_bad
        # Signature and digest are wrong beside the package, the others in it.
        outside = kind in (Kind.RELEASE_SIGNATURE, Kind.RELEASE_DIGEST)
        assert (Release(4, kind).content() == good.content()) == outside


def test_a_release_of_which_nobody_is_told_is_noticed() -> None:
    seen = [answered(call())]
    live = {"type": "package.updated", "data": {"package": "moving", "version": "1.0.3"}}
    assert checkers.letters(seen, [live]).holds
    assert says(checkers.letters(seen, []), "release 3 has served, and nobody was told")
    assert not checkers.letters(seen, [{**live, "type": "package.failed"}]).holds
    assert not checkers.letters(seen, [{**live, "data": {"version": "1.0.13"}}]).holds


def test_a_failure_long_after_the_last_fault_is_noticed() -> None:
    windows = [Window(Kind.WORKER_STOP, 1.0, 3.0), Window(Kind.PAR_KILL, 4.0, 4.0)]
    assert checkers.recovery([failed("queue_full", sent=8.9)], windows).holds
    finding = checkers.recovery([failed("queue_full", sent=9.1)], windows)
    assert says(finding, "par_kill + worker_stop: over at 4.00 s, failures for 5.10 s more")
    # What the next episode does is its own.
    later = [*windows, Window(Kind.S3, 20.0, 21.0)]
    assert checkers.recovery([failed("queue_full", sent=20.5)], later).holds
    assert checkers.recovery([failed("queue_full", sent=19.995)], later).holds


def test_what_is_left_over_is_noticed() -> None:
    rest = Census(2, 3, 0, 70, 20, ("state.json", "tmp/a@*/"))
    assert checkers.leaks(rest, rest, []).holds
    # A version less than before is no leak, nor is a kept connection.
    assert checkers.leaks(rest, replace(rest, workers=2, sockets=23), []).holds
    for more in ({"templates": 3}, {"workers": 4}, {"others": 1}, {"descriptors": 90}, {"sockets": 40}):
        (what,) = more
        assert says(checkers.leaks(rest, replace(rest, **more), []), f"{what}:")  # type: ignore[arg-type]
    for name in ("uploads/x", "tmp/a@*/"):
        left = replace(rest, files=(*rest.files, name))
        assert says(checkers.leaks(rest, left, []), f"file left: {name}")
    assert says(checkers.leaks(rest, rest, ["17: worker"]), "lives on without its PAR")


def test_an_end_that_nobody_has_asked_for_is_noticed() -> None:
    life = Life(17, 0.0, 4.1, -9)
    assert checkers.deaths([life], [Window(Kind.PAR_KILL, 4.0, 4.0)], []).holds
    assert says(checkers.deaths([life], [Window(Kind.WORKER_KILL, 4.0, 4.0)], []), "process 17 ended")
    panics = [(life, "panicked at main.rs")]
    assert says(checkers.deaths([], [], panics), "panic")
    assert checkers.deaths([], [Window(Kind.PAR_MEMORY, 3.0, 5.0)], panics).holds
    assert not checkers.deaths([], [Window(Kind.PAR_MEMORY, 5.0, 6.0)], panics).holds
