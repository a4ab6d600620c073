"""Which windows are due when."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.lifecycle.drift_windows import MOST_OVERDUE, WindowPlan


def test_tumbling_windows_begin_at_the_clocks_marks_and_are_due_after_the_grace() -> None:
    plan = WindowPlan(length_s=60, grace_s=5)

    assert plan.due(100.0, 124.9) == []
    assert plan.due(100.0, 125.0) == [(60.0, 120.0)]
    assert plan.due(120.0, 250.0) == [(120.0, 180.0), (180.0, 240.0)]
    assert plan.next_look(125.0) == 185.0


def test_sliding_windows_overlap_by_what_the_step_leaves() -> None:
    plan = WindowPlan(length_s=60, step_s=15, grace_s=0)

    assert plan.due(120.0, 151.0) == [(75.0, 135.0), (90.0, 150.0)]
    assert plan.looks_per_day == 5_760


def test_after_an_outage_only_the_newest_windows_are_made_up_for() -> None:
    due = WindowPlan(length_s=1, grace_s=0).due(0.0, 1_000.0)

    assert (len(due), due[-1]) == (MOST_OVERDUE, (999.0, 1_000.0))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"length_s": 0}, "window_s: expected seconds above 0"),
        ({"length_s": float("nan")}, "window_s: expected seconds above 0"),
        ({"length_s": 60, "step_s": 61}, "step_s: expected 0 to 60"),
        ({"length_s": 60, "step_s": -1}, "step_s: expected 0 to 60"),
        ({"grace_s": -1}, "grace_s: expected seconds of at least 0"),
    ],
)
def test_impossible_windows_are_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        WindowPlan(**fields)
