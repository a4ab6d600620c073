"""Evidence for arrays and for numbers: the closed form against a slow search, effects that hold at all times."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, lgamma, log, log1p, pi

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.lifecycle.evidence import (
    LARGEST,
    effect,
    evidence_apart,
    evidence_bad,
    evidence_good,
    evidence_other,
    evidence_worse,
    log_ceiling,
    requests_needed,
)

Arm = tuple[int, int]
arms = st.integers(0, 3_000_000).flatmap(
    lambda n: st.tuples(st.just(n), st.one_of(st.integers(0, n), st.sampled_from((0, n, min(1, n), max(0, n - 1)))))
)
margins = st.one_of(st.floats(-0.99, 0.99), st.sampled_from((0.0, 1e-4, -1e-4, 0.01, -0.01)))


@settings(max_examples=300, deadline=None)
@given(arms, arms, margins)
def test_the_closed_form_is_the_largest_likelihood_that_a_slow_search_finds(
    canary: Arm, baseline: Arm, margin: float
) -> None:
    """Farrington and Manning's root, at the edges too: within 1e-4 of a golden-section search, in the log."""
    at_most, at_least = evidence_apart(canary, baseline, margin)
    assert _log(at_most) == pytest.approx(_searched(canary, baseline, margin), abs=1e-4)
    assert _log(at_least) == pytest.approx(_searched(baseline, canary, -margin), abs=1e-4)


def test_arrays_give_what_numbers_give() -> None:
    """One implementation: every element of an array is the scalar's value, whatever axes it broadcasts over."""
    rng = np.random.default_rng(5)
    requests = rng.integers(0, 5000, (40, 3))
    bad = rng.binomial(requests, 0.03)
    others, other_bad = requests[::-1], bad[::-1]
    bounds = np.array([0.01, 0.02, 1.2])
    cases: list[tuple[npt.NDArray[np.float64], Callable[[int, int], float]]] = [
        (evidence_good(requests, bad, bounds), lambda i, j: evidence_good(requests[i, j], bad[i, j], bounds[j])),
        (evidence_bad(requests, bad, 0.02), lambda i, j: evidence_bad(requests[i, j], bad[i, j], 0.02)),
        (evidence_other(requests, bad, 0.1), lambda i, j: evidence_other(requests[i, j], bad[i, j], 0.1)),
        (
            evidence_worse((requests, bad), (others, other_bad), 0.01),
            lambda i, j: evidence_worse((requests[i, j], bad[i, j]), (others[i, j], other_bad[i, j]), 0.01),
        ),
    ]
    for found, scalar in cases:
        assert found.shape == (40, 3)
        np.testing.assert_allclose(found, [[scalar(i, j) for j in range(3)] for i in range(40)], rtol=1e-9)


def test_requests_needed_are_exact_for_arrays() -> None:
    """With one request less each bound is not shown yet; nothing is needed where nothing can be at the bound."""
    bounds = np.array([0.001, 0.02, 0.3, 1.5])
    requests, bad = np.array([0, 100, 50, 7]), np.array([0, 3, 10, 0])
    needed = requests_needed(bounds, requests=requests, bad=bad)
    assert needed[3] == 0
    enough = evidence_good(requests + needed, bad, bounds)
    too_few = evidence_good(requests[:3] + needed[:3] - 1, bad[:3], bounds[:3])
    assert (enough >= 1000).all()
    assert (too_few < 1000).all()


def test_no_evidence_exceeds_its_ceiling() -> None:
    """The mixture is at most the best bet, so the simulation may skip what is below the threshold there."""
    rng = np.random.default_rng(6)
    requests = rng.integers(1, 20_000, 500)
    bad = rng.binomial(requests, rng.uniform(0, 0.1, 500))
    ceiling = np.exp(np.minimum(log_ceiling(requests, bad, 0.02), log(LARGEST)))
    for evidence in (evidence_good, evidence_bad, evidence_other):
        assert (evidence(requests, bad, 0.02) <= ceiling * (1 + 1e-9)).all()


def test_an_effect_has_the_margins_that_are_not_refuted() -> None:
    """3 points more of 1,000; without requests the interval is everything."""
    difference, low, high = effect((1000, 50), (1000, 80), alpha=1e-3)
    assert difference == pytest.approx(0.03)
    assert low < 0 < 0.03 < high
    refuted = [max(evidence_apart((1000, 80), (1000, 50), margin)) >= 1000 for margin in (low - 1e-6, high + 1e-6)]
    inside = [max(evidence_apart((1000, 80), (1000, 50), margin)) >= 1000 for margin in (low + 1e-6, high - 1e-6)]
    assert (refuted, inside) == ([True, True], [False, False])
    assert effect((0, 0), (10, 3)) == pytest.approx((0.3, -1.0, 1.0))


def test_an_effect_that_is_there_is_found() -> None:
    """2 % against 5 % of 20,000 requests each: the interval excludes 0."""
    difference, low, high = effect((20_000, 400), (20_000, 1000))
    assert difference == pytest.approx(0.03)
    assert 0 < low < difference < high


def test_the_true_effect_hardly_ever_leaves_the_interval() -> None:
    """300 seeded tests with 5 % against 8 %, looked at every 20 of 2,000 requests: at alpha = 0.05 under 27 leave."""
    rng = np.random.default_rng(7)
    looks = np.arange(20, 2001, 20)
    baseline = (rng.random((300, 2000)) < 0.05).cumsum(1)[:, looks - 1]
    canary = (rng.random((300, 2000)) < 0.08).cumsum(1)[:, looks - 1]
    against = np.maximum(*evidence_apart((looks, canary), (looks, baseline), 0.03))
    assert (against >= 1 / 0.05).any(1).sum() < 27


def _searched(canary: Arm, baseline: Arm, margin: float) -> float:
    """The log of the evidence, with the null's best point by golden-section search over the logit (Kiefer 1953)."""
    mixture = sum(lgamma(k + 0.5) + lgamma(n - k + 0.5) - lgamma(n + 1) - log(pi) for n, k in (canary, baseline))
    if not canary[0] or not baseline[0] or canary[1] / canary[0] <= baseline[1] / baseline[0] + margin:
        return _capped(mixture - sum(_likelihood(n, k, k / n) for n, k in (canary, baseline) if n))
    low, high = max(0.0, -margin), min(1.0, 1.0 - margin)

    def on_edge(p: float) -> float:
        return _likelihood(*canary, min(1.0, max(0.0, p + margin))) + _likelihood(*baseline, p)

    best, golden = max(on_edge(low), on_edge(high)), (5**0.5 - 1) / 2
    for _ in range(120):
        left, right = high - golden * (high - low), low + golden * (high - low)
        best = max(best, on_edge(left), on_edge(right))
        low, high = (left, high) if on_edge(left) < on_edge(right) else (low, right)
    return _capped(mixture - best)


def _likelihood(requests: int, bad: int, p: float) -> float:
    of_bad = 0.0 if bad == 0 else bad * log(p) if p > 0 else -inf
    return of_bad + (0.0 if bad == requests else (requests - bad) * log1p(-p) if p < 1 else -inf)


def _capped(log_evidence: float) -> float:
    return max(-700.0, min(log_evidence, log(LARGEST)))


def _log(evidence: float) -> float:
    return max(-700.0, log(evidence)) if evidence else -700.0


def test_an_effect_of_all_against_nothing_has_an_interval() -> None:
    """Every request of one revision fails and none of the other's: the edge of the null is a corner there."""
    difference, low, high = effect((60, 0), (60, 60), alpha=1e-3)
    assert difference == 1.0
    assert 0.7 < low < 1.0
    assert high == 1.0
