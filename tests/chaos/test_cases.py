"""Faults in rollouts, on real processes: whatever the fault, the phase and the policy, the invariants hold."""

from __future__ import annotations

import pytest

from harness import Platform
from harness.chaos.case import run_case
from harness.chaos.matrix import Case
from harness.chaos.models import SavedModels, saved_models


@pytest.fixture
def models(platform: Platform) -> SavedModels:
    """The models of this session's cases, saved once."""
    return saved_models(platform, platform.run.folder.parent / "chaos-models")


def test_the_invariants_hold(case: Case, platform: Platform, models: SavedModels) -> None:
    """Policy, phase, fault and whom it hits are in the test's name."""
    found = run_case(platform, models, case)
    platform.run.record.chaos.append(found)
    broken = {name: told for name, told in found.invariants.items() if told}
    assert not broken, f"{found.outcome}: {found.detail}"
