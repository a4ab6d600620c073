"""A model release starts in the registry."""

from __future__ import annotations

from harness import Platform
from harness.lifecycle.dataset import Dataset


def test_a_trained_model_is_registered_with_everything_to_reproduce_it(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """A training leaves a version with its parameters, metrics, data fingerprint and code version."""
    model = platform.train(high_utiliser, max_depth=3)
    version = platform.registry.version(model.name, model.version)
    run = platform.registry.run(version.run_id)
    assert platform.registry.aliases(model.name) == {"candidate": model.version}
    assert run.params["max_depth"] == "3"
    assert run.metrics["auc"] > 0.6
    assert run.tags["data_fingerprint"] == model.result.run.data_fingerprint
