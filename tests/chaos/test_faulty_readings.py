"""Readings that are stale, missing or late, and good again afterwards."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.chaos.readings import FaultyReadings
from harness.errors import PlatformError
from harness.lifecycle.driver import ServingPort
from harness.report.record import RevisionCounts
from harness.runtime.clock import VirtualClock


class Growing:
    """A port whose counts grow by 10 with each reading."""

    service, baseline, canary = "production/model", "v1", "v2"

    def __init__(self) -> None:
        self.requests = 0

    def counts(self) -> list[RevisionCounts]:
        self.requests += 10
        return [RevisionCounts(revision="v1", requests=self.requests, failed=0, slow=0)]

    def answers(self) -> Any:
        return None

    def read_at(self) -> float | None:
        return None


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def readings(clock: VirtualClock) -> FaultyReadings:
    return FaultyReadings(cast(ServingPort, Growing()), clock)


def requests(readings: FaultyReadings) -> int:
    (counts,) = readings.counts()
    return counts.requests


def test_a_stale_reading_is_the_last_one_with_its_time(readings: FaultyReadings, clock: VirtualClock) -> None:
    """Until it is mended; then there is a new one, of now."""
    assert requests(readings) == 10
    clock.sleep(7)
    readings.mode = "stale"
    assert (requests(readings), readings.read_at()) == (10, 0)
    readings.mend()
    assert (requests(readings), readings.read_at()) == (20, 7)


def test_a_missing_reading_is_an_error_of_the_platform(readings: FaultyReadings) -> None:
    """Which the rollout takes as no reading."""
    readings.mode = "missing"
    with pytest.raises(PlatformError, match="a rehearsed fault"):
        readings.counts()


def test_a_late_reading_is_new_and_says_that_it_is_old(readings: FaultyReadings, clock: VirtualClock) -> None:
    """By how much is a setting."""
    clock.sleep(100)
    readings.mode, readings.late_s = "late", 30.0
    assert (requests(readings), readings.read_at()) == (10, 70)
    assert (requests(readings), readings.read_at()) == (20, 70)
