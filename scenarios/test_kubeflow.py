"""A candidate that was trained elsewhere than in a process of this machine is released like any other."""

from __future__ import annotations

import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.lifecycle.dataset import Dataset


@pytest.mark.parametrize(
    ("runner", "needed"),
    [
        ("docker", Capability.PIPELINE_IN_CONTAINERS),
        ("cluster", Capability.PIPELINE_IN_CLUSTER),
        ("trainer", Capability.TRAINER),
    ],
)
def test_a_candidate_trained_elsewhere_passes_its_gate_and_serves(
    platform: Platform, high_utiliser: Dataset, runner: str, needed: Capability
) -> None:
    """As containers, as Jobs or as one TrainJob: registered, judged against the champion, and served."""
    platform.require(needed)
    champion = platform.train(high_utiliser, max_depth=2)
    candidate = platform.train(high_utiliser, estimator="gradient-boosting", runner=runner)
    gate = platform.judge(candidate, champion)
    assert gate.passed
    platform.promote(candidate, "champion", gate=gate)
    service = platform.deploy(candidate)
    smoke = platform.smoke(service, candidate)
    assert smoke.mismatches == 0
    assert smoke.rows == 50
