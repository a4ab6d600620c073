"""Shadows on a virtual clock: copies that are compared, and users that never meet them."""

from __future__ import annotations

from harness.lifecycle.rollout import Outcome, Shadow
from harness.lifecycle.slo import SLO
from harness.runtime.clock import VirtualClock
from tests.unit.simulated import GOOD, Simulated, rehearse

LOOSE = SLO(errors=0.02)
ALIKE = {"v1": 0.3, "v2": 0.3}


def test_a_shadow_that_agrees_is_cleared_and_the_baseline_serves_on() -> None:
    """All copies agree; nothing moved."""
    serving = Simulated(VirtualClock(), positive=ALIKE)
    record = rehearse(serving, Shadow(LOOSE, prediction_shift=0.2))
    assert serving.calls == ["start", "mirror 100", "roll back"]
    assert record.outcome == Outcome.CLEARED
    assert record.answers is not None
    assert record.answers.compared == record.answers.agreed > 300
    assert {guard.guard for guard in record.steps[0].guards} >= {"errors", "slow", "agreement", "predictions"}
    assert record.steps[0].percent == 0


def test_a_shadow_that_disagrees_is_rolled_back() -> None:
    """A tenth of the answers differ, one in a hundred was allowed."""
    serving = Simulated(VirtualClock(), positive=ALIKE, agreement=0.9)
    record = rehearse(serving, Shadow(LOOSE))
    assert record.outcome == Outcome.ROLLED_BACK
    assert "agreement" in record.reason
    assert record.rollback is not None
    assert record.rollback.harmed == 0


def test_a_shadow_that_predicts_otherwise_is_rolled_back() -> None:
    """The distributions are apart, whatever single answers do."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.9})
    record = rehearse(serving, Shadow(LOOSE, min_agreement=None, prediction_shift=0.1))
    assert record.outcome == Outcome.ROLLED_BACK
    assert "predictions" in record.reason


def test_a_shadow_that_errs_or_is_slow_is_rolled_back() -> None:
    """Copies are held against the SLO as requests are."""
    for broken, word in (((0.3, 0.0), "errors"), ((0.0, 0.5), "slow")):
        serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": broken}, positive=ALIKE)
        record = rehearse(serving, Shadow(LOOSE))
        assert record.outcome == Outcome.ROLLED_BACK
        assert record.reason.startswith(word)


def test_a_shadow_is_promoted_only_if_that_is_asked_for() -> None:
    """Straight to all traffic."""
    serving = Simulated(VirtualClock(), positive=ALIKE)
    record = rehearse(serving, Shadow(LOOSE, promote=True))
    assert serving.calls == ["start", "mirror 100", "promote"]
    assert record.outcome == Outcome.PROMOTED


def test_a_shadow_whose_answers_nobody_collects_is_not_cleared() -> None:
    """No comparison is no agreement."""
    record = rehearse(Simulated(VirtualClock()), Shadow(LOOSE, max_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE


def test_a_shadow_of_a_share_sees_that_share() -> None:
    """A tenth of the requests is copied."""
    serving = Simulated(VirtualClock(), positive=ALIKE)
    record = rehearse(serving, Shadow(LOOSE, percent=10))
    baseline, canary = record.steps[0].counts
    assert 0.05 < canary.requests / baseline.requests < 0.15


def test_a_shadow_whose_copies_have_stopped_is_not_promoted_on_its_past() -> None:
    """Plenty of evidence, but none of now: the traffic ended before `min_s`."""
    serving = Simulated(VirtualClock(), positive=ALIKE)

    def stops() -> None:
        if serving.clock.now() > 10:
            serving.rps = 1e-9

    serving.counters = stops
    record = rehearse(serving, Shadow(LOOSE, promote=True, min_s=20, max_s=40))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "no new request of the canary was counted for 5 s" in record.reason
    assert "promote" not in serving.calls
