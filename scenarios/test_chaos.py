"""What fails in the middle of a rollout must not decide it."""

from __future__ import annotations

import pytest

from harness import SLO, Outcome, Platform
from harness.chaos.chaos import Chaos
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary

GENTLE = SLO(errors=0.05, slower_than_ms=500, slow=0.2)


@pytest.mark.fault("replica-killed", phase="paused", aim="baseline")
def test_a_replica_killed_in_the_middle_of_a_canary_loses_no_promotion(
    platform: Platform, chaos: Chaos, high_utiliser: Dataset
) -> None:
    """One of the baseline's two replicas dies by -9; the other one serves, and a new one comes."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1, replicas=2)
    with platform.load(service, rps=200) as traffic:
        rollout = chaos.roll_out(service, v2, Canary(GENTLE, steps=(50, 100), pause_s=1.0))
    assert rollout.outcome is Outcome.PROMOTED
    assert chaos.broken(traffic.ledger) == {}


@pytest.mark.fault("metrics-stale", phase="watching")
def test_a_canary_without_fresh_metrics_is_not_promoted(
    platform: Platform, chaos: Chaos, high_utiliser: Dataset
) -> None:
    """The last reading comes again and again: that is not enough evidence, and the baseline serves on."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = chaos.roll_out(service, v2, Canary(GENTLE, steps=(50, 100), max_step_s=7.0))
    assert rollout.outcome is Outcome.NOT_ENOUGH_EVIDENCE
    assert service.revision == "v1"
    assert chaos.broken(traffic.ledger) == {}


@pytest.mark.fault("controller-killed", phase="promoting", aim="done")
def test_a_rollout_whose_process_is_killed_goes_on_where_it_was(
    platform: Platform, chaos: Chaos, high_utiliser: Dataset
) -> None:
    """Killed by -9 when the promotion is in effect and the rollout has not heard so: it ends as it would have."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = chaos.roll_out(service, v2, Canary(GENTLE, steps=(50, 100)))
    assert rollout.outcome is Outcome.PROMOTED
    assert rollout.record.resumed == 1
    assert chaos.broken(traffic.ledger, expected=Outcome.PROMOTED) == {}
