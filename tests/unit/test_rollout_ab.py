"""A/B tests on a virtual clock: when they end, and with what."""

from __future__ import annotations

import pytest

from harness.lifecycle.rollout import ABTest, ByHeader, Outcome
from harness.lifecycle.slo import SLO
from harness.runtime.clock import VirtualClock
from tests.unit.simulated import GOOD, Simulated, rehearse

WIDE = SLO(errors=0.3, slow=0.3)


def test_a_test_ends_with_the_difference_as_soon_as_it_is_known() -> None:
    """30 % against 60 % positive predictions: seconds suffice, and the baseline serves on."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.6})
    record = rehearse(serving, ABTest(WIDE, metric="positive", min_s=1))
    assert serving.calls == ["start", "assign 50 by user (x-user-id)", "roll back"]
    assert record.outcome == Outcome.CLEARED
    assert record.kind == "ab"
    positive = record.effects[2]
    assert (positive.metric, positive.confidence) == ("positive", 0.999)
    assert 0 < positive.low <= 0.3 <= positive.high
    assert "positive: the canary is better" in record.reason
    assert record.duration_s < 30


def test_a_test_of_two_that_are_alike_ends_once_their_difference_cannot_matter() -> None:
    """The interval is within ±5 points."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.3})
    record = rehearse(serving, ABTest(WIDE, metric="positive", min_effect=0.1))
    assert record.outcome == Outcome.CLEARED
    assert "the difference is less than 10.00%" in record.reason
    assert -0.1 <= record.effects[2].low <= record.effects[2].high <= 0.1


def test_a_test_that_shows_nothing_in_its_time_says_so_with_the_interval() -> None:
    """A hundred requests cannot tell 30 % from 33 %."""
    serving = Simulated(VirtualClock(), rps=5, positive={"v1": 0.3, "v2": 0.33})
    record = rehearse(serving, ABTest(WIDE, metric="positive", max_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "no difference was shown" in record.reason
    assert [effect.metric for effect in record.effects] == ["errors", "slow", "positive"]
    assert record.duration_s == pytest.approx(20, abs=1)


def test_a_better_canary_is_promoted_if_the_test_says_so() -> None:
    """It errs less, and keeps its SLO."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0.2, 0.0), "v2": (0.01, 0.0)})
    record = rehearse(serving, ABTest(WIDE, promote=True))
    assert serving.calls[-1] == "promote"
    assert record.outcome == Outcome.PROMOTED
    assert record.steps[-1].decision == "promote"


def test_a_worse_canary_is_not_promoted() -> None:
    """Fewer positive predictions, as told; the test has its answer."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.6, "v2": 0.3})
    record = rehearse(serving, ABTest(WIDE, metric="positive", promote=True, min_s=1))
    assert record.outcome == Outcome.CLEARED
    assert "the canary is worse" in record.reason
    assert "promote" not in serving.calls


def test_a_better_canary_whose_slo_is_not_proven_is_not_promoted() -> None:
    """More positive predictions, but its latencies cannot be trusted: the test waits, and ends without promotion."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.6}, distrust="the generator was late")
    record = rehearse(serving, ABTest(WIDE, metric="positive", promote=True, min_s=1, max_s=30))
    assert record.outcome == Outcome.CLEARED
    assert "not promoted: " in record.reason
    assert record.duration_s >= 30
    assert "promote" not in serving.calls


def test_a_canary_that_breaks_its_slo_ends_the_test_at_once() -> None:
    """Users come before the experiment; the effects so far are kept."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.6, 0.0)})
    record = rehearse(serving, ABTest(SLO(errors=0.05), metric="slow", min_s=60))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason.startswith("errors")
    assert record.duration_s < 10
    assert record.effects


def test_a_split_by_header_is_asked_for_as_such() -> None:
    """The share that meets the canary is the clients' choice, so there is no split to test."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.6})
    policy = ABTest(WIDE, by=ByHeader("x-variant", "b"), metric="positive", min_s=1)
    record = rehearse(serving, policy)
    assert serving.calls[1] == "assign 50 by header (x-variant: b)"
    assert record.split == {}


def test_latencies_that_cannot_be_trusted_give_no_answer() -> None:
    """A test of slowness under a generator that was late ends without evidence, and says why."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0, 0.01), "v2": (0, 0.2)}, distrust="the generator was late")
    record = rehearse(serving, ABTest(WIDE, metric="slow", max_s=30))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert record.reason == "slow: withheld: the generator was late"


def test_without_predictions_there_is_no_answer_about_them() -> None:
    """Nobody collected them."""
    record = rehearse(Simulated(VirtualClock()), ABTest(WIDE, metric="positive", max_s=15))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert record.reason == "positive: no prediction was collected for both revisions"


def test_a_better_canary_is_not_promoted_on_its_past() -> None:
    """The traffic ended before `min_s`: the test has its answer, and nobody is moved."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0.2, 0.0), "v2": (0.01, 0.0)})

    def stops() -> None:
        if serving.clock.now() > 20:
            serving.rps = 1e-9

    serving.counters = stops
    record = rehearse(serving, ABTest(WIDE, promote=True, min_s=30, max_s=40))
    assert record.outcome == Outcome.CLEARED
    assert record.reason.endswith("not promoted: no new request of the canary was counted for 5 s")
    assert "promote" not in serving.calls
