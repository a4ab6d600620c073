"""The promotion gate stands between the registry and production."""

from __future__ import annotations

import pytest

from harness import GateRefused, Platform
from harness.lifecycle.dataset import Dataset


def test_a_worse_model_is_refused(platform: Platform, high_utiliser: Dataset) -> None:
    """A version that is plausibly worse than the champion cannot take its alias."""
    champion = platform.train(high_utiliser, max_depth=6)
    worse = platform.train(high_utiliser, max_depth=1)
    platform.promote(champion, "champion", gate=platform.judge(champion))
    with pytest.raises(GateRefused, match="not worse than the champion"):
        platform.promote(worse, "champion", gate=platform.judge(worse, champion))
    assert platform.registry.aliases(champion.name)["champion"] == champion.version
