"""Verdicts: exact values where they are known, and the stated error rates over seeded trials."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, log

import numpy as np
import numpy.typing as npt
import pytest

from harness.lifecycle.evidence import (
    BAD_BETS,
    GOOD_BETS,
    evidence_bad,
    evidence_good,
    evidence_other,
    evidence_worse,
    requests_needed,
)
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts, Standard, check_split, judge

SLO_2 = SLO(errors=0.02, slow=0.05)


def seen(requests: int = 0, failed: int = 0, slow: int = 0) -> Counts:
    """Counts in which every request's latency is known."""
    return Counts(requests, failed, slow, timed=requests)


def test_the_bets_are_a_mixture() -> None:
    """The weights add up to 1 and every bet is on its side of the bound: what the proof needs."""
    for bets in (GOOD_BETS, BAD_BETS):
        assert sum(weight for _, weight in bets) == pytest.approx(1.0)
    assert all(0 <= share < 1 for share, _ in GOOD_BETS)
    assert all(0 < share <= 1 for share, _ in BAD_BETS)


def test_no_requests_are_no_evidence() -> None:
    """Every e-value starts at 1."""
    assert evidence_good(0, 0, 0.01) == pytest.approx(1.0)
    assert evidence_bad(0, 0, 0.01) == pytest.approx(1.0)
    assert evidence_worse((0, 0), (0, 0), 0.01) == pytest.approx(1.0)


@pytest.mark.parametrize("evidence", [evidence_good, evidence_bad])
def test_the_expected_evidence_on_the_bound_is_one(evidence: Callable[[int, int, float], float]) -> None:
    """A martingale on the boundary of its null: summed exactly over all outcomes of 40 requests."""
    n, bound = 40, 0.1
    mean = sum(comb(n, k) * bound**k * (1 - bound) ** (n - k) * evidence(n, k, bound) for k in range(n + 1))
    assert mean == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("p_canary", "p_baseline"), [(0.15, 0.1), (0.05, 0.0), (0.1, 0.1), (0.5, 0.45), (0.05, 0.3)])
def test_the_expected_evidence_against_the_baseline_is_at_most_one_under_the_null(
    p_canary: float, p_baseline: float
) -> None:
    """Summed exactly over all outcomes of 20 and 30 requests, on the edge of the null and inside it."""
    n, m, margin = 20, 30, 0.05
    mean = sum(
        comb(n, k) * p_canary**k * (1 - p_canary) ** (n - k)
        * comb(m, j) * p_baseline**j * (1 - p_baseline) ** (m - j)
        * evidence_worse((n, k), (m, j), margin)
        for k in range(n + 1)
        for j in range(m + 1)
    )  # fmt: skip
    assert 0 < mean <= 1.0


def test_clean_requests_needed_are_close_to_the_least_possible() -> None:
    """ln(1000) / -ln(1 - b) is the least that any test of this level needs; the mixture costs 3 % more."""
    for bound, least in ((0.02, 342), (0.04, 170), (0.01, 688), (0.001, 6905)):
        assert least == pytest.approx(log(1000) / -np.log1p(-bound), abs=1)
        assert least < requests_needed(bound) <= 1.04 * least
    assert requests_needed(0.02) == 350


def test_requests_needed_go_on_from_the_counts_so_far() -> None:
    """Clean requests shorten the way, a bad one makes it longer, and at the end nothing is needed."""
    assert requests_needed(0.02, requests=100) == 250
    assert requests_needed(0.02, requests=100, bad=1) > 250
    assert requests_needed(0.02, requests=350) == 0
    assert evidence_good(350, 0, 0.02) >= 1000 > evidence_good(349, 0, 0.02)


def test_exposure_asks_less_of_early_steps_and_nothing_less_of_the_last() -> None:
    """173 clean requests open 50 % of the users at an SLO of 2 %, 350 the final promotion."""

    def decision(requests: int, exposure: float) -> str:
        return judge([(seen(requests), seen(1000))], SLO_2, exposure=exposure).decision

    assert [decision(172, 0.5), decision(173, 0.5)] == ["not enough evidence", "promote"]
    assert [decision(349, 1.0), decision(350, 1.0)] == ["not enough evidence", "promote"]


def test_a_canary_that_always_fails_is_seen_at_once() -> None:
    """Three failures in a row, in the first of three steps."""
    assert judge([(seen(3, 3), seen(100))], SLO(errors=0.01), windows=3).decision == "roll back"


def test_slow_requests_are_held_against_those_whose_latency_is_known() -> None:
    """10,000 requests of which 50 are timed say nothing about the other 9,950, and the reason tells both numbers."""
    behind = judge([(Counts(10_000, 0, 0, timed=50), seen())], SLO_2, final=True)
    slow = next(guard for guard in behind.guards if guard.guard == "slow")
    assert (slow.requests, slow.decision) == (50, "not enough evidence")
    assert behind.decision == "not enough evidence"
    missing = requests_needed(0.05, requests=50)
    assert behind.reason == (
        f"10000 requests, 0 failed, 0 slow of 50 timed: {missing} more requests, all good, are needed to be sure"
    )
    assert judge([(Counts(10_000, 0, 0, timed=50 + missing), seen())], SLO_2, final=True).decision == "promote"


def test_the_verdict_names_the_counts() -> None:
    """One sentence each for promoting, rolling back, and what is missing."""
    promoted = judge([(seen(1000, 0, 3), seen(1000))], SLO_2, final=True)
    assert promoted.reason == "1000 requests, 0 failed, 3 slow: within the SLO"
    assert "errors: 50 of 500 requests (10.00%), 2.00% is allowed" in judge([(seen(500, 50), seen())], SLO_2).reason
    assert judge([(seen(100), seen())], SLO_2).reason == (
        "100 requests, 0 failed, 0 slow: 250 more requests, all good, are needed to be sure"
    )
    assert judge([(seen(300), seen()), (seen(400), seen())], SLO_2, final=True).reason == (
        "700 requests, 0 failed, 0 slow: within the SLO, and so is the last step alone (400 requests, 0 failed, 0 slow)"
    )


def test_the_final_promotion_needs_the_last_step_alone() -> None:
    """Whatever came before: 349 clean requests at full weight are too few for 2 %, 350 are enough."""
    before = [(seen(20_000), seen(100_000)), (seen(20_000), seen(20_000))]
    decisions = [judge([*before, (seen(n), seen())], SLO_2, final=True, windows=3).decision for n in (349, 350)]
    assert decisions == ["not enough evidence", "promote"]
    assert "1 more requests" in judge([*before, (seen(349), seen())], SLO_2, final=True, windows=3).reason


def test_a_good_last_step_does_not_outweigh_a_past_that_broke_the_bound() -> None:
    """Both are needed, the last step's evidence and that of all steps."""
    past = [(seen(10_000, 200), seen(10_000, 200))]
    assert judge([*past, (seen(400), seen())], SLO_2, final=True, windows=2).decision == "not enough evidence"


def test_a_canary_that_breaks_its_bound_at_full_weight_is_not_promoted_on_its_past() -> None:
    """100 seeded canaries with a flawless past and p on the bound in the last step, looked at after every 20 of 1,000.

    At beta = 0.05, 17 or more happen once in 20,000 runs of a valid test; on the total alone nearly all are promoted.
    """
    standard, rng, promoted = Standard(alpha=1e-9, beta=0.05), np.random.default_rng(21), 0
    past = (seen(20_000), seen(20_000))
    for _ in range(100):
        failed = np.cumsum(rng.random(1000) < 0.02)
        looks = ([past, (seen(n, int(failed[n - 1])), seen())] for n in range(20, 1001, 20))
        promoted += any(judge(steps, SLO_2, final=True, standard=standard).decision == "promote" for steps in looks)
    assert promoted < 17


def test_a_canary_within_the_slo_but_clearly_worse_than_its_baseline_is_seen() -> None:
    """1.6 % against 0.02 % of requests fail where 2 % may: the margin is half the bound."""
    verdict = judge([(seen(20_000, 320), seen(20_000, 4))], SLO_2)
    assert verdict.decision == "roll back"
    assert [guard.guard for guard in verdict.guards if guard.decision == "roll back"] == ["errors against baseline"]
    assert verdict.reason == "errors against baseline: +1.58% over 20000 requests, +1.00% is allowed"


def test_a_baseline_that_fails_as_much_does_not_condemn_the_canary() -> None:
    """The comparison is of both; only the SLO is absolute."""
    verdict = judge([(seen(20_000, 240), seen(20_000, 240))], SLO_2)
    assert verdict.guards[1].decision == "promote"
    assert verdict.decision != "roll back"


def test_arms_that_are_equal_in_each_step_are_not_told_apart_because_the_split_grew() -> None:
    """Nothing fails at 10 %, 1.8 % at 100 %: pooled, the canary had 1.7 % and the baseline none."""
    steps = [(seen(1000), seen(9000)), (seen(20_000, 360), seen())]
    assert evidence_worse((21_000, 360), (9000, 0), 0.01) > 1e9
    verdict = judge(steps, SLO_2, windows=3)
    assert verdict.decision != "roll back"
    assert (verdict.guards[1].observed, verdict.guards[1].bad) == (0.0, 360)


def test_equal_arms_that_fail_more_with_each_step_are_hardly_ever_told_apart() -> None:
    """100 pairs over 10, 50 and 100 %, both with 0, 10 and 19 % failures where 20 % may.

    At alpha = 0.05, 17 or more roll backs happen once in 20,000 runs of a valid test.
    """
    standard, slo, rng, wrong = Standard(alpha=0.05), SLO(errors=0.2), np.random.default_rng(22), 0
    for _ in range(100):
        steps: list[tuple[Counts, Counts]] = []
        decisions: list[str] = []
        for share, p in ((0.1, 0.0), (0.5, 0.1), (1.0, 0.19)):
            canary, bad = rng.random(2000) < share, rng.random(2000) < p
            steps.append((seen(), seen()))
            for n in range(200, 2001, 200):
                arms = (canary[:n], ~canary[:n])
                steps[-1] = (
                    seen(int(arms[0].sum()), int(bad[:n][arms[0]].sum())),
                    seen(int(arms[1].sum()), int(bad[:n][arms[1]].sum())),
                )
                decisions.append(judge(steps, slo, windows=3, standard=standard).decision)
        wrong += "roll back" in decisions
    assert wrong < 17


def test_a_step_without_baseline_traffic_is_no_evidence_against_the_canary() -> None:
    """At 100 % nothing else serves: the SLO alone decides, and the earlier steps' comparison stays as it was."""
    assert judge([(seen(1000), seen())], SLO_2, final=True).decision == "promote"
    shared = (seen(1000, 9), seen(1000, 9))
    before = judge([shared], SLO_2, windows=2).guards[1]
    after = judge([shared, (seen(5000, 90), seen())], SLO_2, windows=2).guards[1]
    assert after.evidence_bad <= before.evidence_bad
    assert after.observed == before.observed == 0.0


def test_a_canary_that_breaks_its_promise_in_one_step_is_convicted_by_that_step() -> None:
    """Much worse than its baseline at 50 % only; the reason has that step's numbers."""
    steps = [(seen(1000), seen(9000)), (seen(20_000, 360), seen(20_000, 4)), (seen(100), seen())]
    assert judge(steps, SLO_2, windows=3).reason == (
        "errors against baseline: +1.78% over 20000 requests, +1.00% is allowed"
    )


def test_a_good_past_does_not_shield_a_canary_that_breaks_late() -> None:
    """After 20,000 good requests, 60 bad of 100 in the last step are enough; as one step they are not."""
    past, late = seen(20_000), seen(100, 60)
    assert judge([(past + late, seen())], SLO_2, windows=3).decision == "promote"
    assert judge([(past, seen()), (late, seen())], SLO_2, windows=3).decision == "roll back"


def test_more_bad_than_requests_is_read_as_all_bad() -> None:
    """Counters are read one after another."""
    assert judge([(seen(3, 5), seen())], SLO_2).guards[0].bad == 3


def test_evidence_stays_a_number_that_json_knows() -> None:
    """A million failures have evidence beyond floats."""
    verdict = judge([(seen(1_000_000, 1_000_000), seen(1_000_000))], SLO_2)
    assert all(np.isfinite([guard.evidence_bad, guard.evidence_good]).all() for guard in verdict.guards)
    assert judge([(seen(10), seen())], SLO(errors=0.3), exposure=0.1).guards[0].evidence_good == 1e300


@pytest.mark.parametrize(
    ("p", "wrong"), [(0.02, "promote"), (0.03, "promote"), (0.02, "roll back"), (0.015, "roll back")]
)
def test_wrong_verdicts_stay_within_their_rate_however_often_one_looks(p: float, wrong: str) -> None:
    """300 seeded canaries on or near the bound, looked at after every 5 of 2,000 requests; alpha = beta = 0.05.

    At this level at most 15 of 300 are expected; 30 or more happen once in 10,000 runs of a valid test. A test that is
    valid for one look only is wrong for about a fifth of these canaries.
    """
    standard = Standard(alpha=0.05, beta=0.05)
    rng = np.random.default_rng(20)
    trials = sum(_ever(wrong, rng.random(2000) < p, standard) for _ in range(300))
    assert trials < 30


def test_clear_cases_are_never_decided_wrongly_and_always_decided() -> None:
    """At alpha = beta = 1e-3: 100 good canaries (0.2 %) and 100 bad ones (8 %) against 2 %, 3,000 requests each."""
    rng = np.random.default_rng(3)
    good = [_first(rng.random(3000) < 0.002) for _ in range(100)]
    bad = [_first(rng.random(3000) < 0.08) for _ in range(100)]
    assert good == ["promote"] * 100
    assert bad == ["roll back"] * 100


def test_two_equal_arms_are_hardly_ever_told_apart() -> None:
    """200 pairs with the same 5 % failures, looked at every 20 of 2,000 requests: at most a 5 % level's share."""
    requests = np.arange(20, 2001, 20)
    canary, baseline = np.cumsum(np.random.default_rng(4).random((2, 200, 2000)) < 0.05, axis=-1)[..., requests - 1]
    rejected = (evidence_worse((requests, canary), (requests, baseline), 0.0) >= 20).any(axis=1)
    assert rejected.sum() < 22


def test_the_expected_evidence_of_another_split_is_one_under_the_configured_one() -> None:
    """A martingale under the weight, so a step may end when it likes: summed exactly over all outcomes of 40."""
    n, weight = 40, 0.1
    chances = [comb(n, k) * weight**k * (1 - weight) ** (n - k) for k in range(n + 1)]
    mean = sum(chance * evidence_other(n, k, weight) for k, chance in enumerate(chances))
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_a_right_split_is_kept_although_its_step_ends_when_the_canary_has_most() -> None:
    """Held at every request against 1/20: of 300 seeded splits at most a 5 % level's share is ever rejected."""
    canary = np.cumsum(np.random.default_rng(23).random((300, 2000)) < 0.1, axis=1, dtype=np.int64)
    rejected = (evidence_other(np.arange(1, 2001), canary, 0.1) >= 20).any(axis=1)
    assert rejected.sum() < 30


def test_a_split_that_is_off_by_five_points_is_caught_and_a_correct_one_passes() -> None:
    """15 % where 10 % is configured, over 5,000 requests, against 10.16 %; nothing to judge passes."""
    assert check_split(5000, 508, 0.1).passed
    assert not check_split(5000, 750, 0.1).passed
    assert not check_split(5000, 250, 0.1).passed
    assert check_split(0, 0, 0.1).p_value == 1.0


def _ever(decision: str, bad: npt.NDArray[np.bool_], standard: Standard) -> bool:
    requests = np.arange(5, 2001, 5)
    failed = np.cumsum(bad, dtype=np.int64)[requests - 1]
    if decision == "promote":
        return bool((evidence_good(requests, failed, 0.02) >= 1 / standard.beta).any())
    return bool((evidence_bad(requests, failed, 0.02) >= 1 / standard.alpha).any())


def _first(bad: npt.NDArray[np.bool_]) -> str:
    failed = np.cumsum(bad)
    for n in range(10, len(bad) + 1, 10):
        steps = [(seen(n, int(failed[n - 1])), seen(9 * n, n // 100))]
        decision = judge(steps, SLO_2, windows=3).decision
        if decision != "not enough evidence":
            return decision
    return "not enough evidence"


def test_a_canary_that_breaks_late_is_convicted_by_the_counts_of_its_last_step() -> None:
    steps = [(seen(352, 0, 3), seen()), (seen(84, 0, 18), seen())]
    verdict = judge(steps, SLO(slower_than_ms=50, slow=0.05), windows=3)
    assert verdict.decision == "roll back"
    assert verdict.reason == "slow: 18 of 84 requests (21.43%), 5.00% is allowed"
