"""The exact (Clopper-Pearson) interval of a proportion, without SciPy: a report is rendered in the light process."""

from __future__ import annotations

import math


def exact_interval(hits: int, total: int, confidence: float = 0.999) -> tuple[float, float]:
    """Bounds in [0, 1] that hold the true proportion with at least `confidence` (Clopper and Pearson 1934)."""
    if total <= 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _quantile(tail, hits, total - hits + 1)
    high = 1.0 if hits == total else _quantile(1.0 - tail, hits + 1, total - hits)
    return low, high


def _quantile(probability: float, a: float, b: float) -> float:
    """The beta distribution's quantile, by bisection to 2^-60."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _beta_cdf(middle, a, b) < probability else (low, middle)
    return (low + high) / 2.0


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d, tiny)
            c = _away(1.0 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
