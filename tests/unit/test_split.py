"""How many requests show a wrong split: known at once for the usual weights, computed for the others."""

from __future__ import annotations

import pytest

from harness.lifecycle import split


@pytest.mark.parametrize(("weight", "known"), sorted(split._KNOWN.items()))
def test_the_requests_that_are_known_are_those_that_are_computed(weight: float, known: int) -> None:
    assert split.split_requests_needed(weight) == known == split._requests_needed(weight, split.OFF, split.POWER)


def test_another_weight_distance_or_power_is_computed() -> None:
    """More requests for a smaller distance and for more power; a weight that nobody has asked for yet, too."""
    known = split.split_requests_needed(0.1)

    assert split.split_requests_needed(0.1, power=0.9) < known < split.split_requests_needed(0.1, off=0.04)
    assert split.split_requests_needed(0.05) < split.split_requests_needed(0.07) < known
