"""When requests are due and whose they are: fixed functions of the sequence and a seed, never of an answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from math import sqrt
from typing import Any, Literal, get_args

from harness.load.shapes import Shape

Arrivals = Literal["constant", "poisson"]
ARRIVALS: tuple[str, ...] = get_args(Arrivals)
_GOLDEN = 2654435761  # Knuth's multiplicative hash: neighbours get users that are far apart


def due_times(arrivals: str, shape: Shape, seed: int = 0, share: int = 0, shares: int = 1) -> Iterator[float]:
    """When the requests of one share are due, in seconds from the load's origin; ends with the shape.

    constant: the k-th request of all shares together is due when the shape has had k. poisson: a Poisson process of the
    shape's rate, which is one of rate 1 on the clock of the shape's count of requests; the shares' add up to it.
    """
    if arrivals == "constant":
        return shape.times(itertools.count(share, shares))
    gap = random.Random(f"{seed}/{share}").expovariate
    return shape.times(itertools.accumulate(gap(1 / shares) for _ in itertools.count()))


def most_requests(expected: float, shares: int = 1) -> int:
    """A bound on the sequences of a load: ten standard deviations above what a Poisson process gives on average."""
    return int(expected + 10 * sqrt(expected * shares)) + 1000


def user_of(sequence: Any, users: int) -> Any:
    """Which of `users` users sends this request; for one sequence or an integer array of them."""
    return ((sequence * _GOLDEN) % 2**32 * users) >> 32
