"""A registered model is served."""

from __future__ import annotations

from harness import Platform
from harness.lifecycle.dataset import Dataset


def test_a_deployed_model_answers_as_it_did_offline(platform: Platform, high_utiliser: Dataset) -> None:
    """A served model gives the offline model's predictions, in both inference protocols."""
    model = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(model)
    smoke = platform.smoke(service, model, rows=100)
    assert smoke.mismatches == 0
    assert smoke.protocols == ["v1", "v2"]
