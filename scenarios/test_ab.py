"""An A/B test splits users, not requests, and ends with a difference and its interval."""

from __future__ import annotations

import pandas as pd

from harness import SLO, Outcome, Platform
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import ByHeader

SLOW_IS_FINE = SLO(errors=0.2, slower_than_ms=250, slow=0.2)


def test_an_ab_test_ends_with_the_difference_and_its_interval(platform: Platform, high_utiliser: Dataset) -> None:
    """Two models that answer alike: the interval of the difference lies within what does not matter."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=150, users=40) as traffic:
        rollout = service.ab_test(v2, slo=SLOW_IS_FINE, metric="positive", min_effect=0.2, min_s=2, max_s=60)
    assert rollout.outcome is Outcome.CLEARED, rollout.reason
    (positive,) = (effect for effect in rollout.record.effects if effect.metric == "positive")
    assert -0.2 <= positive.low <= positive.difference <= positive.high <= 0.2
    assert {effect.metric for effect in rollout.record.effects} == {"errors", "slow", "positive"}
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_user_meets_one_revision_only(platform: Platform, high_utiliser: Dataset) -> None:
    """Of 40 users, each one's requests during the test were answered by the same revision."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=150, users=40) as traffic:
        rollout = service.ab_test(v2, slo=SLOW_IS_FINE, min_effect=0.1, min_s=3, max_s=60, metric="slow")
    assert rollout.outcome is Outcome.CLEARED, rollout.reason
    (test,) = rollout.record.steps
    sent = pd.read_parquet(traffic.ledger.path)
    during = sent[
        (traffic.ledger.started_at + sent.intended_s).between(test.started_at, test.started_at + test.duration_s)
    ]
    assert len(during) > 300
    assert set(during.revision) == {"v1", "v2"}
    assert (during.groupby("user").revision.nunique() == 1).all()


def test_only_requests_with_the_header_meet_the_canary(platform: Platform, high_utiliser: Dataset) -> None:
    """A split by header: without requests that have it, the test ends without an answer, and nobody met the canary."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=50) as traffic:
        rollout = service.ab_test(v2, slo=SLOW_IS_FINE, by=ByHeader("x-variant", "b"), min_s=1, max_s=3)
    assert rollout.outcome is Outcome.NOT_ENOUGH_EVIDENCE
    assert "no request was counted" in rollout.reason
    assert traffic.ledger.answered("v2") == 0
