"""The cores that answer a load, second by second, from counters that grow, begin anew and go."""

from __future__ import annotations

import math

import pytest

from harness._processors import ProcessorMeter, Reading, cores


def test_cores_are_the_growth_of_all_of_a_revisions_processes() -> None:
    readings = [
        Reading(100.0, {"gateway": {1: 5.0}, "v1": {2: 1.0}}),
        Reading(101.0, {"gateway": {1: 5.2}, "v1": {2: 1.5, 3: 9.0}}),
        Reading(102.0, {"gateway": {1: 5.3}, "v1": {2: 2.4, 3: 9.8}}),
    ]
    found = cores(readings, 100.0, 1, 3)
    assert found["gateway"] == [pytest.approx(0.2), pytest.approx(0.1), pytest.approx(math.nan, nan_ok=True)]
    assert found["v1"][:2] == [pytest.approx(0.5), pytest.approx(1.7)]


def test_a_process_that_came_back_or_went_takes_nothing_away() -> None:
    """A new process counts from its second reading; a counter that began anew counts as nothing, not as less."""
    readings = [
        Reading(0.0, {"v1": {2: 8.0}}),
        Reading(1.0, {"v1": {2: 0.1}}),
        Reading(2.0, {"v1": {4: 3.0}}),
        Reading(3.0, {"v1": {4: 3.6}}),
    ]
    assert cores(readings, 0.0, 1, 3)["v1"] == [0.0, 0.0, pytest.approx(0.6)]


def test_steps_of_several_seconds_have_the_mean_and_what_is_outside_of_the_load_is_left_out() -> None:
    readings = [Reading(float(at), {"v1": {1: at * 0.5 if at <= 2 else 1.0 + at - 2}}) for at in range(7)]
    assert cores(readings, 1.0, 2, 2)["v1"] == [pytest.approx(0.75), pytest.approx(1.0)]


def test_a_world_that_cannot_say_has_no_columns() -> None:
    with ProcessorMeter(dict) as meter:
        pass
    assert cores(meter.readings, 0.0, 1, 3) == {}
