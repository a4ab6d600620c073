"""A machine with more to do than it can is named; a rollout that slows down on it is no proof against the model."""

from __future__ import annotations

import os

import pytest

from harness.runtime.busy import busy_machine


@pytest.mark.parametrize(
    ("load", "told"), [(3.0, ""), (3.1, "the machine is busy: load average 3.1 on 2 cores"), (0.2, "")]
)
def test_a_machine_is_busy_above_one_and_a_half_tasks_a_core(
    load: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert busy_machine() == told
