"""The model of capacity: what is fitted to points of a known law is that law."""

from __future__ import annotations

import pytest

from capacity import model

LAW = model.Costs(idle_us=120.0, shared_us=20.0, alone_us=40.0, contention=0.1)


def _point(callers: int, cores: int) -> model.Point:
    return model.Point(callers, cores, LAW.rate(callers, cores), LAW.cpu_us(callers, cores))


def test_a_fit_to_points_of_a_law_finds_the_law() -> None:
    fitted = model.costs([_point(callers, cores) for callers in (1, 2, 8, 32) for cores in (1, 2)], 120.0)
    assert fitted.shared_us == pytest.approx(20.0)
    assert fitted.alone_us == pytest.approx(40.0)
    assert fitted.contention == pytest.approx(0.1)
    assert fitted.rate(64, 2) == pytest.approx(LAW.rate(64, 2))


def test_few_callers_are_bound_by_time_and_many_by_cores() -> None:
    assert LAW.rate(1, 2) == pytest.approx(1e6 / 120)
    assert LAW.rate(1000, 2) == pytest.approx(2e6 / LAW.cpu_us(1000, 2))
    assert LAW.rate(500, 2, wait_us=100_000) == pytest.approx(500e6 / 100_120)
    assert LAW.rate(32, 2, busy_us=10_000) == pytest.approx(200, rel=0.01)
    assert LAW.rate(1000, 2, other_us=20) < LAW.rate(1000, 2)


def test_noise_below_nothing_is_no_contention() -> None:
    points = [model.Point(callers, 1, 1.0, 30.0) for callers in (1, 2)] + [model.Point(2, 2, 1.0, 29.0)]
    assert model.costs(points, 100.0).contention == 0.0


def test_memory_is_a_line_through_its_points() -> None:
    memory = model.memory([(1, 26.0), (10, 80.0), (100, 620.0)], worker_mb=3.0)
    assert memory.mb(50) == pytest.approx(320.0)
    assert memory.mb(50, further=4) == pytest.approx(332.0)


def test_a_line_needs_two_places() -> None:
    with pytest.raises(ValueError, match="two different places"):
        model.line([(1.0, 2.0), (1.0, 3.0)])


def test_a_thousand_calls_cost_what_their_share_of_an_hour_costs() -> None:
    assert model.price(0.06, calls_per_minute=100) == pytest.approx(0.01)
