"""When requests are due and whose they are: fixed functions of the sequence and a seed, never of an answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from math import sqrt
from typing import Any, Literal, get_args

Arrivals = Literal["constant", "poisson"]
ARRIVALS: tuple[str, ...] = get_args(Arrivals)
_GOLDEN = 2654435761  # Knuth's multiplicative hash: neighbours get users that are far apart


def due_times(arrivals: str, rps: float, seed: int = 0, share: int = 0, shares: int = 1) -> Iterator[float]:
    """When the requests of one share are due, in seconds from the load's origin.

    constant: `rps` a second, evenly spaced over all shares together. poisson: independent exponential gaps; the shares'
    processes add up to one of rate `rps`.
    """
    if arrivals == "constant":
        return ((share + number * shares) / rps for number in itertools.count())
    gap = random.Random(f"{seed}/{share}").expovariate
    return itertools.accumulate(gap(rps / shares) for _ in itertools.count())


def most_requests(rps: float, seconds: float, shares: int = 1) -> int:
    """A bound on the sequences of a load: ten standard deviations above what a Poisson process of that rate gives."""
    expected = rps * seconds
    return int(expected + 10 * sqrt(expected * shares)) + 1000


def user_of(sequence: Any, users: int) -> Any:
    """Which of `users` users sends this request; for one sequence or an integer array of them."""
    return ((sequence * _GOLDEN) % 2**32 * users) >> 32
