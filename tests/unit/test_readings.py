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
    assert readings.totals() == {"concurrency": pytest.approx(6), "rps": pytest.approx(20)}


def test_nothing_is_known_before_there_are_readings() -> None:
    readings = Readings(4.0)
    assert readings.totals() == {}
    readings.take(1.0, Traffic(2, 5))
    assert readings.totals() == {"concurrency": 2}
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
