"""Verdicts on what revisions answer, guards that join a decision or abstain, and budgets that are too small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from harness.lifecycle.answers import Answers
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts, Standard, agreement_guard, budget_problem, judge, prediction_shift_guard

CUTS = tuple(cut / 10 for cut in range(1, 10))
SLO_2 = SLO(errors=0.02, slow=0.05)


def seen(requests: int, failed: int = 0, slow: int = 0) -> Counts:
    """Counts in which every request's latency is known."""
    return Counts(requests, failed, slow, timed=requests)


def answers(requests: int, shift: float = 0.0) -> Answers:
    """Both revisions' predictions at the baseline's deciles, the canary's distribution function lower by `shift`."""
    baseline = tuple(round(requests * cut) for cut in CUTS)
    return Answers(
        CUTS, baseline, tuple(round(requests * min(1, max(0, cut - shift))) for cut in CUTS), requests, requests
    )


def test_equal_predictions_are_shown_to_be_equal() -> None:
    """10,000 of each differ by less than 10 points at every cut; 100 of each say nothing."""
    assert prediction_shift_guard(answers(10_000), 0.1).decision == "promote"
    assert prediction_shift_guard(answers(100), 0.1).decision == "not enough evidence"
    assert prediction_shift_guard(Answers(), 0.1).decision == "not enough evidence"


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_a_shift_is_seen_in_either_direction(shift: float) -> None:
    """Thirty points where ten are allowed, over 2,000 predictions; the guard tells the shift."""
    found = prediction_shift_guard(answers(2000, shift), 0.1)
    assert found.decision == "roll back"
    assert found.observed == pytest.approx(0.3)


def test_a_shift_as_large_as_allowed_is_hardly_ever_a_verdict() -> None:
    """200 seeded pairs with exactly the margin at each cut, at alpha = beta = 0.05, looked at after every 250 of 5,000.

    Neither verdict may come to more than 20 of them.
    """
    rng, standard = np.random.default_rng(9), Standard(alpha=0.05, beta=0.05)
    decided = {"promote": 0, "roll back": 0, "not enough evidence": 0}
    for _ in range(200):
        baseline, canary = rng.random(5000), rng.random(5000) + 0.1
        below = [(values[:, None] <= np.array(CUTS)).cumsum(0) for values in (baseline, canary)]
        found = {
            prediction_shift_guard(_answers(below, n), 0.1, standard, guards=1).decision for n in range(249, 5000, 250)
        }
        for decision in found:
            decided[decision] += 1
    assert decided["promote"] <= 20
    assert decided["roll back"] <= 20


def test_a_shift_within_the_day_is_none_of_the_canary() -> None:
    """Both revisions' predictions move with the hour while the split grows: alike in each step, pooled they differ."""
    morning = Answers((0.5,), (4500,), (500,), 9000, 1000)
    evening = Answers((0.5,), (900,), (900,), 9000, 9000)
    pooled = Answers((0.5,), (5400,), (1400,), 18_000, 10_000)
    assert prediction_shift_guard(pooled, 0.1).decision == "roll back"
    assert prediction_shift_guard([morning, evening], 0.1, windows=3).decision != "roll back"


def test_copies_that_agree_are_enough_and_copies_that_do_not_are_too_many() -> None:
    """99 % must agree: 710 of 710 do, 650 of 700 do not, 100 of 100 may."""
    assert agreement_guard(710, 710, 0.99).decision == "promote"
    assert agreement_guard(700, 650, 0.99).decision == "roll back"
    assert agreement_guard(100, 100, 0.99).decision == "not enough evidence"
    assert agreement_guard(0, 0, 0.99).decision == "not enough evidence"


def test_an_extra_guard_is_needed_for_the_final_promotion_and_can_roll_back_before() -> None:
    """Predictions that are not shown yet hold the last step only; a shift ends any step."""
    steps = [(seen(1000), seen(1000))]
    missing, moved = prediction_shift_guard(answers(100), 0.1), prediction_shift_guard(answers(2000, 0.3), 0.1)
    assert judge(steps, SLO_2, exposure=0.5, extra=[missing]).decision == "promote"
    held = judge(steps, SLO_2, final=True, extra=[missing])
    assert held.decision == "not enough evidence"
    assert "predictions: shifted by 0.00% over 100 predictions, 10.00% is allowed, not enough to be sure" in held.reason
    broken = judge(steps, SLO_2, exposure=0.5, extra=[moved])
    assert broken.decision == "roll back"
    assert broken.reason == "predictions: shifted by 30.00% over 2000 predictions, 10.00% is allowed"


def test_alpha_is_shared_by_all_guards() -> None:
    """One more guard, and each needs that much more evidence."""
    steps = [(seen(1000, 40), seen(1000))]
    alone = judge(steps, SLO_2).guards[0].evidence_bad
    beside = judge(steps, SLO_2, extra=[prediction_shift_guard(answers(100), 0.1)]).guards[0].evidence_bad
    assert beside == pytest.approx(alone * 4 / 5)


def test_latencies_that_cannot_be_trusted_neither_promote_nor_roll_back() -> None:
    """The slow guards abstain, the others do not; the reason says why."""
    clean, slow = [(seen(5000), seen(5000))], [(seen(5000, 0, 4000), seen(5000))]
    why = "the generator was 30 ms late"
    assert judge(clean, SLO_2, final=True).decision == "promote"
    assert judge(slow, SLO_2).decision == "roll back"
    held = judge(clean, SLO_2, final=True, withheld=why)
    assert (held.decision, held.reason) == (
        "not enough evidence",
        "5000 requests, 0 failed, 0 slow: the verdict on latency is withheld: the generator was 30 ms late",
    )
    assert judge(slow, SLO_2, withheld=why).decision == "not enough evidence"
    assert judge([(seen(5000, 4000), seen(5000))], SLO_2, withheld=why).decision == "roll back"


def test_a_budget_that_is_too_small_says_what_would_do() -> None:
    """350 requests in the last step, 173 in the first; what it names is enough."""
    steps = (10, 50, 100)
    assert budget_problem(steps, SLO_2, 30, 60) == ""
    assert budget_problem(steps, SLO_2, 30, 57) == (
        "the step of 10 % can have no verdict: showing that errors are below 4.00% takes 173 canary requests, "
        "30 s at 57 requests/s have 171; 31 s or 58 requests/s would do"
    )
    assert budget_problem((100,), SLO_2, 30, 11).startswith("the step of 100 % can have no verdict: ")
    assert budget_problem((100,), SLO_2, 30, 12) == ""


def test_a_budget_that_cannot_prove_the_split_is_too_small() -> None:
    """8,413 requests show that a half is not 45 or 55 %."""
    assert budget_problem((50, 100), SLO_2, 60, 140, prove_split=True).endswith("141 requests/s would do")
    assert budget_problem((50, 100), SLO_2, 60, 141, prove_split=True) == ""


def _answers(below: list[npt.NDArray[np.int64]], at: int) -> Answers:
    rows = [tuple(values[at].tolist()) for values in below]
    return Answers(CUTS, rows[0], rows[1], at + 1, at + 1)
