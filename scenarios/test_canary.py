"""A canary is judged by what it does to requests."""

from __future__ import annotations

from dataclasses import replace

from harness import SLO, Outcome, Platform
from harness.lifecycle.dataset import Dataset


def test_a_better_model_is_promoted(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that keeps its SLOs replaces the baseline without losing a request."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, steps=(10, 50, 100), slo=SLO(errors=0.02, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.PROMOTED
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_errs_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that fails a tenth of its requests is rolled back, and the baseline serves on."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:errs", share=0.1)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "errors" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_refuses_the_clients_rows_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A version trained without one of the columns answers 400 to every client of the baseline: it goes."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(replace(high_utiliser, ignore=("poor_health", "log_incentive"), columns={}), max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "errors" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_is_slow_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that answers right but takes too long is rolled back, and the baseline serves on."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:dawdles", seconds=0.12)
    service = platform.deploy(v1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "slow" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0
