"""A rollout that meets a fault leaves the baseline serving."""

from __future__ import annotations

import pytest

from harness import SLO, Outcome, Platform
from harness.errors import WaitTimeout
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline

LENIENT = SLO(errors=0.3, slower_than_ms=500, slow=0.3)


def test_a_promotion_that_gets_stuck_gives_the_traffic_back_to_the_baseline(
    platform: Platform, high_utiliser: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promoted document was applied, then the service got stuck: the document from before is applied again."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(v1)
    wait_ready = platform.backend.wait_ready

    def stuck_after_promotion(namespace: str, name: str, deadline: Deadline) -> None:
        wait_ready(namespace, name, deadline)
        if service.revision == "v2":
            raise WaitTimeout("InferenceService production/high-utiliser ready: not within the deadline")

    monkeypatch.setattr(platform.backend, "wait_ready", stuck_after_promotion)
    with platform.load(service, rps=200):
        rollout = service.canary(v2, steps=(50, 100), slo=LENIENT)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "not within the deadline" in rollout.reason
    assert service.revision == "v1"
    assert platform.backend.status(service.namespace, service.name).weights == {"v1": 100}
