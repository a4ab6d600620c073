"""When requests are due: a fixed function of the sequence and a seed."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest

from harness.load.arrivals import due_times, most_requests, user_of
from harness.load.shapes import Steady


def first(count: int, *args: Any) -> list[float]:
    return list(itertools.islice(due_times(*args), count))


def test_constant_arrivals_are_evenly_spaced_over_all_processes() -> None:
    """Three processes take turns; together they are one schedule."""
    shares = [first(100, "constant", Steady(200.0), 0, share, 3) for share in range(3)]
    assert sorted(itertools.chain(*shares)) == pytest.approx([number / 200 for number in range(300)])
    assert shares[1][0] == pytest.approx(1 / 200)


def test_poisson_arrivals_have_exponential_gaps_at_the_rate() -> None:
    """Mean and standard deviation are both one over the rate; a share of two has half of it."""
    for share, shares in ((0, 1), (1, 2)):
        due = first(20_000, "poisson", Steady(100.0), 7, share, shares)
        gaps = [after - before for before, after in itertools.pairwise(due)]
        assert statistics.mean(gaps) == pytest.approx(shares / 100, rel=0.03)
        assert statistics.stdev(gaps) == pytest.approx(shares / 100, rel=0.03)


def test_the_seed_decides_and_each_share_has_arrivals_of_its_own() -> None:
    """Two shares with the same gaps would send in pairs."""
    assert first(50, "poisson", Steady(10.0), 7, 0, 2) == first(50, "poisson", Steady(10.0), 7, 0, 2)
    assert first(50, "poisson", Steady(10.0), 7, 0, 2) != first(50, "poisson", Steady(10.0), 7, 1, 2)
    assert first(50, "poisson", Steady(10.0), 7) != first(50, "poisson", Steady(10.0), 8)


def test_no_load_makes_more_requests_than_its_bound() -> None:
    """Sequences beyond it are nobody's, so a request of the load must never be there."""
    for seed in range(20):
        due = (due_times("poisson", Steady(500), seed, share, 2) for share in range(2))
        last = [sum(1 for _ in itertools.takewhile(lambda at: at < 10, each)) for each in due]
        assert 2 * max(last) < most_requests(5000, 2)


def test_a_request_has_one_user_and_users_have_equal_shares() -> None:
    """A thousand requests of seven users."""
    users = [user_of(number, 7) for number in range(7000)]
    assert users == [user_of(number, 7) for number in range(7000)]
    assert {user: users.count(user) for user in range(7)} == pytest.approx(dict.fromkeys(range(7), 1000), abs=10)
    assert {user_of(number, 1) for number in range(50)} == {0}
