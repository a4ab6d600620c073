"""What the judgements share: shares with exact bounds, worst examples, and what a field of a check may be. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigError
from harness.report._interval import exact_interval

ALPHA = 1e-3
"""How often a statistical check may be wrong in either direction, as in the verdicts on a rollout."""
EXAMPLES = 5


@dataclass(frozen=True)
class ShareVerdict:
    """Whether a share of bad rows keeps its bound: None if the rows cannot tell.

    A bound of 0 allows no bad row, so nothing is left to chance among the rows that were seen. Any other is held
    against the exact bounds `low` and `high` (Clopper and Pearson 1934), each wrong with probability alpha at most: a
    share that keeps the bound fails, and one that breaks it passes, at most so often.
    """

    passed: bool | None
    low: float
    high: float

    @classmethod
    def of(cls, bad: int, rows: int, at_most: float, alpha: float) -> ShareVerdict:
        low, high = exact_interval(bad, rows, 1 - 2 * alpha)
        if not rows:
            return cls(None, low, high)
        if not at_most:
            return cls(bad == 0, low, high)
        return cls(True if high <= at_most else False if low > at_most else None, low, high)


def rows_for(at_most: float, alpha: float) -> int:
    """The fewest rows that can show that a share keeps its bound, none of them bad."""
    return math.ceil(math.log(alpha) / math.log1p(-at_most)) if 0 < at_most < 1 else 1


def too_few(rows: int, at_most: float, alpha: float) -> str:
    """What to say of rows that cannot tell."""
    least = rows_for(at_most, alpha)
    return f"{rows:,} are too few to tell; at least {least:,} are needed" if rows < least else "too near to tell"


def worst(found: Iterable[tuple[float, str]]) -> list[str]:
    """The words of those with the largest figures, the worst first."""
    return [words for _, words in heapq.nlargest(EXAMPLES, found, key=lambda each: each[0])]


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def require_number(where: str, value: Any, low: float, high: float, *, above: bool = False) -> None:
    """ConfigError unless the value is a number from `low`, or only above it, to `high`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low < value <= high if above else low <= value <= high):
        expected = f"a number above {low:g}" if above else f"a number from {low:g}"
        expected += f" to {high:g}" if math.isfinite(high) else "" if above else " up"
        raise ConfigError(f"{where}: expected {expected}, got {value!r}")


def require_count(where: str, value: Any, low: int = 1) -> None:
    """ConfigError unless the value is a whole number of at least `low`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(f"{where}: expected a whole number from {low} up, got {value!r}")


def require_text(where: str, value: Any) -> None:
    """ConfigError unless the value is a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: expected a text in quotes, not empty, got {value!r}")
