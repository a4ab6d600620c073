"""The split's test: exact power, exact false rejection at any time, and what a seeded simulation counts."""

from __future__ import annotations

import numpy as np
import pytest

from harness.lifecycle.evidence import evidence_other
from harness.lifecycle.split import check_split, split_power, split_requests_needed

WEIGHTS = (0.1, 0.2, 0.5)


@pytest.mark.parametrize(("weight", "requests"), [(0.1, 3549), (0.2, 5791), (0.5, 8413)])
def test_five_points_are_caught_with_the_computed_number_of_requests(weight: float, requests: int) -> None:
    """Power 99.9 % on either side from that number on, and not yet with one request less."""
    assert split_requests_needed(weight) == requests
    assert split_power(requests - 1, weight, 0.05) < 0.999
    assert all(split_power(n, weight, 0.05) >= 0.999 for n in range(requests, requests + 300, 7))


@pytest.mark.parametrize("weight", [0.01, *WEIGHTS, 0.93])
@pytest.mark.parametrize("requests", [1, 7, 40, 1000, 6000])
def test_the_power_is_the_binomial_probability_of_a_rejection(weight: float, requests: int) -> None:
    """Summed over all counts, one side and then the other."""
    from scipy.stats import binom

    counts = np.arange(requests + 1)
    rejected = evidence_other(requests, counts, weight) > 1e6
    sides = [binom.pmf(counts, requests, p)[rejected].sum() for p in (weight - 0.05, weight + 0.05) if p > 0]
    assert split_power(requests, weight, 0.05) == pytest.approx(min(sides), rel=1e-9)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_right_split_is_rejected_once_in_a_million_even_if_one_looks_after_every_request(weight: float) -> None:
    """The probability of ever being rejected within 4,000 requests, by exact recursion over the counts."""
    alive, rejected = np.array([1.0]), 0.0
    for n in range(1, 4001):
        alive = np.append(alive * (1 - weight), 0.0) + np.append(0.0, alive * weight)
        out = evidence_other(n, np.arange(n + 1), weight) > 1e6
        rejected += alive[out].sum()
        alive[out] = 0.0
    assert 0 < rejected <= 1e-6


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_simulated_split_is_judged_as_computed(weight: float) -> None:
    """5,000 seeded splits on each side: at most 14 are missed (5 expected, more happen once in 5,000 runs)."""
    rng, requests = np.random.default_rng(8), split_requests_needed(weight)
    for off in (-0.05, 0.05):
        counts = rng.binomial(requests, weight + off, 5000)
        assert (evidence_other(requests, counts, weight) <= 1e6).sum() <= 14
    right = rng.binomial(requests, weight, 5000)
    assert (evidence_other(requests, right, weight) <= 1e6).all()


def test_the_test_of_one_split_is_the_one_whose_power_is_computed() -> None:
    """`check_split` rejects exactly the counts that the power counts."""
    counts = range(0, 1001, 3)
    assert [check_split(1000, k, 0.2).passed for k in counts] == [evidence_other(1000, k, 0.2) <= 1e6 for k in counts]


def test_smaller_errors_of_a_split_need_more_requests() -> None:
    """Two points need about six times as many as five."""
    assert split_requests_needed(0.1, off=0.02) > 5 * split_requests_needed(0.1)
