"""The intervals of a comparison: right where the answer is known, and as rarely wrong as they say on bursty loads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.compare.intervals import Interval, effective, quantile, ratio, ratio_of_rare, share

EVEN = [100] * 60


def bursty(chance: np.random.Generator, requests: int = 6000, seconds: int = 30) -> NDArray[Any]:
    """Latencies in ms of evenly spaced requests: a machine whose speed wanders, and a stall every few seconds."""
    speed = np.zeros(seconds * 10)
    for tick in range(1, len(speed)):
        speed[tick] = 0.5 * speed[tick - 1] + chance.normal(0, 0.25)
    at = np.arange(requests) / requests * seconds
    found = 4.0 * np.exp(chance.normal(0, 0.35, requests) + speed[(at * 10).astype(int)])
    for start in chance.uniform(0, seconds, chance.poisson(seconds / 5)):
        length = chance.uniform(0.02, 0.15)
        stalled = (at >= start) & (at < start + length)
        found[stalled] += 1000 * (start + length - at[stalled])
    return np.asarray(found)


def cut(values: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values, 60)


def pairs(trials: int) -> Iterator[tuple[list[NDArray[Any]], list[NDArray[Any]]]]:
    chance = np.random.default_rng(20)
    for _ in range(trials):
        yield cut(bursty(chance)), cut(bursty(chance))


def test_independent_requests_are_worth_nearly_all_of_them_and_equal_ones_their_batches() -> None:
    chance = np.random.default_rng(1)
    worth = [effective(chance.binomial(100, 0.3, 60), EVEN, 0.05) for _ in range(200)]
    all_or_nothing = [100 if chance.random() < 0.3 else 0 for _ in range(60)]

    assert 4000 < np.median(worth) < 6000
    assert effective(all_or_nothing, EVEN, 0.05) == pytest.approx(60, rel=0.2)
    assert effective([5], [100], 0.05) == 0.0


def test_a_share_has_the_exact_interval_of_what_its_requests_are_worth() -> None:
    hits = [3, 2, 4, 3, 2, 4, 3, 3, 2, 4] * 6
    worth = effective(hits, EVEN, 0.01)
    seen = sum(hits)
    found = share(hits, EVEN, 0.01)

    assert found.observed == seen / 6000
    good = seen / 6000 * worth
    assert found.low == pytest.approx(stats.beta.ppf(0.005, good, worth - good + 1))
    assert found.high == pytest.approx(stats.beta.ppf(0.995, good + 1, worth - good))


def test_no_failure_at_all_still_has_an_upper_bound() -> None:
    """Of n requests without a failure the share is below 1 - alpha^(1/n) (Clopper and Pearson), n the worth."""
    found = share([0] * 60, EVEN, 0.05)
    assert found.low == 0.0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / effective([0] * 60, EVEN, 0.05)))


def test_a_quantile_beyond_the_requests_has_no_upper_bound() -> None:
    """300 requests show nothing about their 99.9th percentile but a lower bound."""
    few = np.split(np.random.default_rng(2).exponential(1.0, 300), 60)
    assert quantile(few, 0.999, 0.01).high == math.inf
    assert math.isfinite(quantile(few, 0.5, 0.01).high)
    assert quantile([], 0.5, 0.01).high == math.inf


def test_the_ratio_of_two_intervals_by_hand() -> None:
    """ln 2 - sqrt(ln(2/1.5)^2 + ln(1.2/1)^2), and the like above (Zou and Donner 2008)."""
    found = ratio(Interval(1.0, 0.9, 1.2), Interval(2.0, 1.5, 2.5))
    assert found.observed == pytest.approx(2.0)
    assert math.log(found.low) == pytest.approx(math.log(2) - math.hypot(math.log(2 / 1.5), math.log(1.2)))
    assert math.log(found.high) == pytest.approx(math.log(2) + math.hypot(math.log(2.5 / 2), math.log(1 / 0.9)))
    assert ratio(Interval(1.0, 0.9, math.inf), Interval(2.0, 1.5, 2.5)).low == 0.0


def test_failures_against_none_have_a_lower_bound_and_no_upper_one() -> None:
    found = ratio_of_rare(([0] * 60, EVEN), ([1] * 60, EVEN), 0.01)
    assert found.low > 5
    assert found.high == math.inf
    none = ratio_of_rare(([0] * 60, EVEN), ([0] * 60, EVEN), 0.01)
    assert (none.low, none.high) == (0.0, math.inf)


def test_one_burst_of_failures_is_one_event() -> None:
    """50 failures within one batch say that something happened once, not that one request in 120 fails."""
    burst = [50, *[0] * 59]
    assert ratio_of_rare(([0] * 60, EVEN), (burst, EVEN), 0.01).low < 1


@pytest.mark.parametrize(("asked", "worse"), [(0.5, 3), (0.99, 0)])
def test_a_quantiles_interval_is_wrong_as_rarely_as_it_says_although_requests_hang_together(
    asked: float, worse: int
) -> None:
    """At alpha = 0.1 of 400 pairs at most 13 %, which chance exceeds once in 40.

    The plain interval, for independent requests, is wrong more than three times as often for the median.
    """
    wrong = plain = 0
    for one, other in pairs(400):
        found = ratio(quantile(one, asked, 0.1), quantile(other, asked, 0.1))
        wrong += not found.low <= 1 <= found.high
        mixed = [np.random.default_rng(3).permutation(np.concatenate(each)) for each in (one, other)]
        alone = ratio(*(quantile(np.split(each, 60), asked, 0.1) for each in mixed))
        plain += not alone.low <= 1 <= alone.high
    assert wrong / 400 <= 0.13
    assert plain >= worse * max(wrong, 1)


def test_a_slower_median_is_found() -> None:
    """30 % slower in loads of 6,000 bursty requests: at alpha = 1e-3 / 6 in nine of ten pairs."""
    found = [
        ratio(quantile(one, 0.5, 1e-3 / 6), quantile([1.3 * batch for batch in other], 0.5, 1e-3 / 6)).low > 1
        for one, other in pairs(100)
    ]
    assert sum(found) >= 90


def test_twice_the_failures_are_found_and_equal_ones_are_not() -> None:
    """1 % and 2 % of 20,000 requests at alpha = 1e-3; and 1 % against 1 % is wrong in at most 1 % of 1,000 pairs."""
    chance = np.random.default_rng(4)
    sizes = [333] * 60

    def fails(rate: float) -> tuple[list[int], list[int]]:
        return chance.binomial(333, rate, 60).tolist(), sizes

    assert sum(ratio_of_rare(fails(0.01), fails(0.02), 1e-3).low > 1 for _ in range(100)) >= 99
    assert sum(ratio_of_rare(fails(0.01), fails(0.01), 0.05).low > 1 for _ in range(1000)) <= 30
