"""The test of a traffic split: exact power, exact false rejection, and the requests that they need.

The e-value (harness.lifecycle.evidence.evidence_other) is compared with 1 / SPLIT_P_VALUE at a step's end. A correct
split ever reaches it with probability at most SPLIT_P_VALUE, whenever the step ends (Ville 1939). The power at n
requests is the exact binomial probability of the counts that reach it at n; reaching it at some number up to n is at
least as likely, so for a test that looks more often it is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

from harness.lifecycle.evidence import evidence_other

SPLIT_P_VALUE = 1e-6
POWER = 0.999
OFF = 0.05


@dataclass(frozen=True)
class SplitVerdict:
    """The test of an observed traffic split, valid at any stopping time; shares and p_value are in [0, 1]."""

    configured: float
    observed: float
    requests: int
    p_value: float
    passed: bool


def check_split(requests: int, canary: int, weight: float) -> SplitVerdict:
    """Test that `canary` of `requests` fit the configured weight in (0, 1); a correct split fails once in a million."""
    p_value = min(1.0, 1 / float(evidence_other(requests, canary, weight)))
    observed = canary / requests if requests else 0.0
    return SplitVerdict(weight, observed, requests, p_value, p_value >= SPLIT_P_VALUE)


def split_power(requests: int, weight: float, off: float) -> float:
    """The least probability that a split which is `off` to either side of `weight` is rejected after `requests`.

    With `off` = 0 it is the probability that the correct split is rejected.
    """
    from scipy.special import bdtr, bdtrc

    low, high = _accepted(requests, weight)
    powers = [
        (float(bdtr(low - 1, requests, p)) if low else 0.0) + float(bdtrc(high, requests, p))
        for p in {weight - off, weight + off}
        if 0 < p < 1
    ]
    return min(powers, default=1.0)


@cache
def split_requests_needed(weight: float, off: float = OFF, power: float = POWER) -> int:
    """The least number of requests from which on a split that is `off` is rejected with this power."""
    enough = 1
    while split_power(enough, weight, off) < power:
        enough *= 2
    low = enough // 2
    while enough - low > 1:
        middle = (enough + low) // 2
        low, enough = (low, middle) if split_power(middle, weight, off) >= power else (middle, enough)
    # Counts are whole, so the power is a saw: the last tooth below `power` decides, and it is near the first above.
    teeth = range(enough, enough + max(50, enough // 20))
    return 1 + max((n for n in teeth if split_power(n, weight, off) < power), default=enough - 1)


def _accepted(requests: int, weight: float) -> tuple[int, int]:
    """The least and the largest count that is not rejected; the e-value is convex in the count."""
    import numpy as np

    # Ten standard deviations and 20 requests away from its mean every count is rejected.
    away = 20 + 10 * sqrt(requests * weight * (1 - weight))
    first, last = max(0, int(requests * weight - away)), min(requests, int(requests * weight + away))
    counts = np.arange(first, last + 1)
    kept = np.flatnonzero(evidence_other(requests, counts, weight) <= 1 / SPLIT_P_VALUE)
    return first + int(kept[0]), first + int(kept[-1])
