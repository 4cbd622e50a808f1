"""What k6 and oha say is read as it is meant, and what grows in a soak is noticed."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

if sys.version_info < (3, 11):
    pytest.skip("NOT CHECKED: the load runs on Python 3.11", allow_module_level=True)

from load import report, soak
from load.run import Seen, read_k6, read_oha

TIMES = {"med": 1.0, "p(95)": 2.0, "p(99)": 3.0, "max": 4.0, "count": 100}


def k6(failed: int = 0, holds: bool = True, checks: int = 0) -> Seen:
    """The summary of a run."""
    metrics = {
        "http_req_duration": {"values": TIMES, "thresholds": {"p(95)<3": {"ok": holds}}},
        "http_reqs": {"values": {"rate": 10.0}},
        "http_req_failed": {"values": {"passes": failed}, "thresholds": {"rate==0": {"ok": not failed}}},
        "checks": {"values": {"passes": 100 - checks, "fails": checks}},
    }
    return read_k6("steady", {"metrics": metrics}, 1.5)


def test_a_run_holds_only_if_all_its_thresholds_do() -> None:
    assert k6().fine
    assert not k6(holds=False).fine
    assert not k6(failed=1).fine
    # An answer of 200 that is the wrong one is no answer.
    assert (k6(checks=2).fine, k6(checks=2).failed) == (False, 2)


def test_what_oha_could_not_send_is_a_failure_and_what_ran_at_the_end_is_none() -> None:
    told = {
        "statusCodeDistribution": {"200": 9, "503": 1},
        "errorDistribution": {"aborted due to deadline": 4, "connection refused": 2},
        "latencyPercentiles": {"p50": 0.001, "p95": 0.002, "p99": 0.003},
        "summary": {"requestsPerSec": 5.0, "slowest": 0.004},
    }
    seen = read_oha("oha-steady", told, 0.0, 3.0)
    assert (seen.calls, seen.failed, seen.p95, seen.fine) == (10, 3, 2.0, False)
    told |= {"statusCodeDistribution": {"200": 10}, "errorDistribution": {}}
    assert read_oha("oha-steady", told, 0.0, 3.0).fine
    assert not read_oha("oha-steady", told, 0.0, 1.9).fine


def samples(grows: float = 0.0, slower: float = 0.0, failed: int = 0) -> list[soak.Sample]:
    """An hour, a sample a minute, with some noise; the first minutes are those of a start."""
    return [
        soak.Sample(
            60.0 * at, 30.0 + min(at, 5) + grows * at / 60 + at % 2, 100, 15, 5.0 + slower * at, 9_900, failed
        )
        for at in range(60)
    ]


def test_what_grows_what_slows_down_and_what_fails_is_told() -> None:
    assert all(soak.verdicts(samples(), 10_000).values())
    leaking = soak.verdicts(samples(grows=40.0), 10_000)
    assert [what for what, held in leaking.items() if not held and what.startswith("rss_mb")]
    assert not all(soak.verdicts(samples(slower=0.2), 10_000).values())
    assert not soak.verdicts(samples(failed=1), 10_000)["no call fails"]
    assert not all(soak.verdicts(samples()[:3], 10_000).values())


def test_a_soak_at_less_than_its_rate_does_not_hold() -> None:
    assert [what for what, held in soak.verdicts(samples(), 11_000).items() if not held] == [
        "9,900 calls a second of 11,000 that were due"
    ]


def test_calls_of_other_kinds_that_fail_in_a_soak_are_told() -> None:
    assert all(soak.beside({"of a kind": k6()}).values())
    assert soak.beside({"of a kind": replace(k6(), failed=2)}) == {"100 calls of a kind, 2 failed": False}
    assert not all(soak.beside({"of a kind": replace(k6(), calls=0)}).values())


def test_the_page_of_a_soak_shows_its_last_minute_and_draws_four_curves() -> None:
    told = soak.page({"cpu": "x"}, samples(), soak.verdicts(samples(), 20_000))
    assert "| 59 | 9,900 | 0 |" in told and "**does not hold**: 9,900 calls" in told
    assert soak.picture(samples()).count("<polyline") == 4


def test_the_page_names_what_does_not_hold_and_needs_nothing_else() -> None:
    page = report.page({"cpu": "<one>"}, [k6(), k6(holds=False)])
    assert "steady: http_req_duration: p(95)&lt;3" in page
    assert "&lt;one&gt;" in page and "<svg" in page and "src=" not in page
