"""The world changes after a release."""

from __future__ import annotations

from harness import Platform, Window
from harness.lifecycle.dataset import Dataset


def test_a_shifted_population_is_noticed_and_an_unshifted_one_is_not(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """Traffic from people in poor health is drift; random held-out traffic is not."""
    model = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(model)
    control, shifted = platform.drift(service, model, [Window("control"), Window("shifted", where="poor_health == 1")])
    assert not control.drifted
    assert shifted.drifted
