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
    binomial_p_value,
    evidence_bad,
    evidence_good,
    evidence_worse,
    requests_needed,
)
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts, Standard, check_split, judge

SLO_2 = SLO(errors=0.02, slow=0.05)


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
        return judge(Counts(requests), Counts(1000), SLO_2, exposure=exposure).decision

    assert [decision(172, 0.5), decision(173, 0.5)] == ["not enough evidence", "promote"]
    assert [decision(349, 1.0), decision(350, 1.0)] == ["not enough evidence", "promote"]


def test_a_canary_that_always_fails_is_seen_at_once() -> None:
    """Three failures in a row, in the first of three steps."""
    assert judge(Counts(3, 3), Counts(100), SLO(errors=0.01), windows=3).decision == "roll back"


def test_the_verdict_names_the_counts() -> None:
    """One sentence each for promoting, rolling back, and what is missing."""
    assert judge(Counts(1000, 0, 3), Counts(1000), SLO_2).reason == "1000 requests, 0 failed, 3 slow: within the SLO"
    assert "errors: 50 of 500 requests (10.00%), 2.00% is allowed" in judge(Counts(500, 50), Counts(), SLO_2).reason
    assert judge(Counts(100), Counts(), SLO_2).reason == (
        "100 requests, 0 failed, 0 slow: 250 more requests, all good, are needed to be sure"
    )


def test_a_canary_within_the_slo_but_clearly_worse_than_its_baseline_is_seen() -> None:
    """1.6 % against 0.02 % of requests fail where 2 % may: the margin is half the bound."""
    verdict = judge(Counts(20_000, 320), Counts(20_000, 4), SLO_2)
    assert verdict.decision == "roll back"
    assert [guard.guard for guard in verdict.guards if guard.decision == "roll back"] == ["errors against baseline"]


def test_a_baseline_that_fails_as_much_does_not_condemn_the_canary() -> None:
    """The comparison is of both; only the SLO is absolute."""
    verdict = judge(Counts(20_000, 240), Counts(20_000, 240), SLO_2)
    assert verdict.guards[1].decision == "promote"
    assert verdict.decision != "roll back"


def test_without_a_baseline_the_slo_alone_decides() -> None:
    """At 100 % nothing else serves."""
    assert judge(Counts(1000), Counts(), SLO_2).decision == "promote"


def test_a_good_past_does_not_shield_a_canary_that_breaks_late() -> None:
    """After 20,000 good requests, 60 bad of 100 in the last step are enough; without that step's view they are not."""
    whole, late = Counts(20_100, 60), Counts(100, 60)
    assert judge(whole, Counts(), SLO_2, windows=3).decision == "promote"
    assert judge(whole, Counts(), SLO_2, windows=3, since=[late]).decision == "roll back"


def test_more_bad_than_requests_is_read_as_all_bad() -> None:
    """Counters are read one after another."""
    assert judge(Counts(3, 5), Counts(), SLO_2).guards[0].bad == 3


def test_evidence_stays_a_number_that_json_knows() -> None:
    """A million failures have evidence beyond floats."""
    verdict = judge(Counts(1_000_000, 1_000_000, 0), Counts(1_000_000), SLO_2)
    assert all(np.isfinite([guard.evidence_bad, guard.evidence_good]).all() for guard in verdict.guards)
    assert judge(Counts(10), Counts(), SLO(errors=0.3), exposure=0.1).guards[0].evidence_good == 1e300


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
    rng = np.random.default_rng(4)
    rejected = 0
    for _ in range(200):
        canary, baseline = (np.cumsum(rng.random(2000) < 0.05) for _ in range(2))
        looks = range(19, 2000, 20)
        rejected += any(evidence_worse((i + 1, int(canary[i])), (i + 1, int(baseline[i])), 0.0) >= 20 for i in looks)
    assert rejected < 22


@pytest.mark.parametrize(("n", "k", "p"), [(10, 3, 0.2), (50, 0, 0.1), (50, 50, 0.9), (100, 37, 0.5), (3000, 250, 0.1)])
def test_the_exact_p_value_is_scipys_tails_doubled(n: int, k: int, p: float) -> None:
    """Checked against another implementation."""
    from scipy.stats import binom

    expected = min(1.0, 2 * min(binom.cdf(k, n, p), binom.sf(k - 1, n, p)))
    assert binomial_p_value(n, k, p) == pytest.approx(expected, rel=1e-9)


def test_a_split_that_is_off_by_five_points_is_caught_and_a_correct_one_passes() -> None:
    """15 % where 10 % is configured, over 5,000 requests, against 10.16 %; nothing to judge passes."""
    assert check_split(5000, 508, 0.1).passed
    assert not check_split(5000, 750, 0.1).passed
    assert not check_split(5000, 250, 0.1).passed
    assert check_split(0, 0, 0.1).p_value == 1.0


def _ever(decision: str, bad: npt.NDArray[np.bool_], standard: Standard) -> bool:
    failed = np.cumsum(bad)
    if decision == "promote":
        return any(evidence_good(n, int(failed[n - 1]), 0.02) >= 1 / standard.beta for n in range(5, 2001, 5))
    return any(evidence_bad(n, int(failed[n - 1]), 0.02) >= 1 / standard.alpha for n in range(5, 2001, 5))


def _first(bad: npt.NDArray[np.bool_]) -> str:
    failed = np.cumsum(bad)
    for n in range(10, len(bad) + 1, 10):
        decision = judge(Counts(n, int(failed[n - 1])), Counts(9 * n, n // 100), SLO_2, windows=3).decision
        if decision != "not enough evidence":
            return decision
    return "not enough evidence"


def test_a_canary_that_breaks_late_is_convicted_by_the_counts_of_its_last_step() -> None:
    total, since_the_step = Counts(436, 0, 21), Counts(84, 0, 18)
    verdict = judge(total, Counts(), SLO(slower_than_ms=50, slow=0.05), since=[since_the_step], windows=3)
    assert verdict.decision == "roll back"
    assert verdict.reason == "slow: 18 of 84 requests (21.43%), 5.00% is allowed"
