"""Blue-green: all traffic at once, and an instant way back."""

from __future__ import annotations

from harness import SLO, Outcome, Platform
from harness.lifecycle.dataset import Dataset


def test_green_replaces_blue_without_losing_a_request(platform: Platform, high_utiliser: Dataset) -> None:
    """Green is warmed by copies, holds all traffic, and blue goes once it is idle."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    slo = SLO(errors=0.02, slower_than_ms=100, slow=0.1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.blue_green(v2, slo=slo, warm_s=1, warm_requests=20, hold_s=2, drain_s=1)
    assert rollout.outcome is Outcome.PROMOTED, rollout.reason
    assert [(step.percent, step.decision) for step in rollout.record.steps] == [(0, "warm"), (100, "promote")]
    assert service.revision == "v2"
    assert traffic.ledger.unexplained == 0


def test_blue_has_the_traffic_back_at_once_when_green_errs(platform: Platform, high_utiliser: Dataset) -> None:
    """Green fails every third request, which its copies already show: no user met it."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:errs", share=0.33)
    service = platform.deploy(v1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.blue_green(v2, slo=SLO(errors=0.02, slower_than_ms=250, slow=0.2), warm_requests=100)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert rollout.reason.startswith("errors")
    assert [step.percent for step in rollout.record.steps] == [0]
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0
