"""A shadow sees the traffic, and no user sees its answers."""

from __future__ import annotations

from harness import SLO, Outcome, Platform
from harness.lifecycle.dataset import Dataset

SLOW_IS_FINE = SLO(errors=0.02, slower_than_ms=250, slow=0.2)


def test_a_shadow_that_answers_alike_is_cleared_and_met_no_user(platform: Platform, high_utiliser: Dataset) -> None:
    """The same model again: its copies agree, and every request was answered by the baseline."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.shadow(v2, slo=SLOW_IS_FINE, min_agreement=0.95, prediction_shift=0.2)
    assert rollout.outcome is Outcome.CLEARED, rollout.reason
    answers = rollout.record.answers
    assert answers is not None
    assert answers.compared == answers.agreed > 90
    assert service.revision == "v1"
    assert traffic.ledger.answered("v2") == 0
    assert traffic.ledger.mirrored >= answers.compared
    assert traffic.ledger.unexplained == 0


def test_a_shadow_that_answers_otherwise_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A model that differs on more of the rows than was agreed: the reason says on how many."""
    v1 = platform.train(high_utiliser, max_depth=1)
    v2 = platform.train(high_utiliser, max_depth=8)
    service = platform.deploy(v1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.shadow(v2, slo=SLOW_IS_FINE, min_agreement=0.99)
    assert rollout.outcome is Outcome.ROLLED_BACK, rollout.reason
    assert "agree" in rollout.reason
    assert rollout.record.rollback is not None
    assert rollout.record.rollback.harmed == 0
    assert traffic.ledger.unexplained == 0
