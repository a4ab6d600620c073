"""The autoscaler's figures: means over a window of what counters say."""

from __future__ import annotations

import pytest

from harness.backends.embedded.readings import Readings, Series
from harness.clients.envoy import Traffic
from harness.runtime.usage import Usage


def test_a_rate_is_the_growth_over_the_window_alone() -> None:
    """10 a second for ten seconds, then 50 for three: a window of three sees the 50."""
    series = Series(3.0)
    for second in range(11):
        series.add(second, 10.0 * second)
    for second in range(1, 4):
        series.add(10 + second, 100 + 50.0 * second)
    assert series.rate() == pytest.approx(50)
    assert series.span_s == 3


def test_requests_in_flight_are_a_mean_and_requests_a_second_count_those_that_began() -> None:
    readings = Readings(4.0)
    for second, (active, begun) in enumerate([(0, 100), (4, 120), (8, 140), (8, 160), (10, 180)]):
        readings.take(second, Traffic(active, begun))
    assert readings.totals(4.0) == {"concurrency": pytest.approx(6.25), "rps": pytest.approx(20)}


def test_a_mean_is_over_time_however_the_readings_are_spaced() -> None:
    """Ten in flight for nine seconds and none in the tenth, which was read far more often."""
    series = Series(10.0)
    for at in (0.0, 3.0, 9.0, 9.0001, *(9.1 + 0.1 * tick for tick in range(10))):
        series.add(at, 10.0 if at <= 9 else 0.0)
    assert series.mean() == pytest.approx(9, abs=0.01)


def test_a_mean_leaves_out_what_was_before_its_window() -> None:
    """A reading is missing: of the line over the gap the window's part counts."""
    series = Series(4.0)
    series.add(0.0, 0.0)
    series.add(8.0, 80.0)
    assert series.mean() == pytest.approx(60)
    series.add(8.0, 80.0)
    assert series.mean() == pytest.approx(60)


def test_a_counter_that_began_anew_has_grown_by_what_it_says() -> None:
    """A gateway that was started again counts from zero; a dip of a request that is just ending is none."""
    series = Series(4.0)
    for at, begun in enumerate([1000, 1010, 1009, 10, 20]):
        series.add(at, begun)
    assert series.rate() == pytest.approx((10 - 1 + 10 + 10) / 4)


def test_figures_are_none_once_the_gateway_has_said_nothing_for_a_window() -> None:
    readings = Readings(4.0)
    for second in range(3):
        readings.take(second, Traffic(2, 10 * second))
    assert readings.totals(6.0) == {"concurrency": pytest.approx(2), "rps": pytest.approx(10)}
    assert readings.totals(6.1) == {}


def test_nothing_is_known_before_there_are_readings() -> None:
    readings = Readings(4.0)
    assert readings.totals(1.0) == {}
    readings.take(1.0, Traffic(2, 5))
    assert readings.totals(1.0) == {"concurrency": 2}
    assert readings.samples(1.0, 7) == {}


def test_a_replicas_cores_are_told_once_they_were_read_over_a_window() -> None:
    readings = Readings(2.0)
    for tick in range(9):
        readings.take_usage(tick / 4, 7, Usage(0.1 * tick, 1000.0 + tick))
        if tick == 4:
            assert set(readings.samples(1.0, 7)) == {"memory"}
    cpu = readings.samples(2.0, 7)["cpu"]
    assert cpu.value == pytest.approx(0.4)
    assert (cpu.at, cpu.window_s) == (2.0, 2.0)
    assert readings.samples(2.0, 7)["memory"].value == 1008


def test_a_replica_that_is_gone_is_forgotten() -> None:
    readings = Readings(1.0)
    for tick in range(5):
        readings.take_usage(tick, 7, Usage(tick, 1.0))
    readings.keep([8])
    assert readings.samples(5.0, 7) == {}


def test_what_was_before_an_outage_of_the_gateway_is_not_of_the_window_after_it() -> None:
    """Else a line across the outage would be taken for load."""
    readings = Readings(3.0)
    readings.take(0.0, Traffic(30, 100))
    readings.take(12.0, Traffic(0, 100))
    assert readings.totals(12.0) == {"concurrency": 0.0}
