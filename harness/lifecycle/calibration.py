"""Thresholds of a drift check that keep a stated number of false alarms a day, from resamples of the reference. Pure.

Of `looks` a day each may raise a false alarm with probability `false_alarms / looks`. Windows that are drawn from the
reference itself have no drift: from thousands of them each column gets the p-value that it falls below as often as
every other column does, as large as the share of windows with any alarm allows. That share's 95 % upper bound
(Clopper-Pearson) is what is held to the rate. A rate that the draws cannot show is kept by the union bound instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, hypergeom, norm, rankdata

from harness.errors import DataError, UsageError
from harness.lifecycle import _joint
from harness.lifecycle._comparison import KS, Comparison, DriftPolicy, alone, ks_p_value

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.intp]
"""Rows of windows, shape [windows, rows]."""

DAY_S = 86_400.0
PAIRS, QUALITY = "(pairs of columns)", "(quality)"
"""The tests that are of no column."""
CONFIDENCE = 0.95
LEAST_DRAWS, MOST_DRAWS = 2_000, 20_000
PAIRS_DRAWS = 5_000
_CHUNK = 500
_TAIL = 0.05


@dataclass(frozen=True)
class Rate:
    """How many false alarms a day are bearable, and how often a day one looks."""

    false_alarms_per_day: float = 0.1
    looks_per_day: float = 24.0

    def __post_init__(self) -> None:
        for name in ("false_alarms_per_day", "looks_per_day"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"drift: {name}: expected a number above 0, got {getattr(self, name)!r}")

    @property
    def per_look(self) -> float:
        """The probability of a false alarm that one look may have."""
        return min(0.5, self.false_alarms_per_day / self.looks_per_day)


@dataclass(frozen=True)
class Calibration:
    """A p-value for each test at or below which it alarms; `otherwise` is that of a test that the reference lacks.

    `found` is the share of the `draws` windows of `rows` rows that alarmed, `at_most` its upper bound; by the union
    bound alone (`resampled` is false) `at_most` is the rate itself.
    """

    per_look: float
    thresholds: Mapping[str, float]
    otherwise: float
    rows: int
    draws: int
    resampled: bool
    found: float
    at_most: float

    def of(self, test: str) -> float:
        return self.thresholds.get(test, self.otherwise)


def calibrate(
    reference: pd.DataFrame, rate: Rate, *, rows: int, policy: DriftPolicy | None = None, losses: Array | None = None
) -> Calibration:
    """Thresholds for windows of about `rows` rows; `losses` are the reference's squared errors, if it has labels."""
    policy = policy or DriftPolicy()
    pair = alone(reference, policy)
    names = [*pair.methods, PAIRS, *([QUALITY] if losses is not None else [])]
    if rows > len(pair.reference) // 2:
        raise DataError(
            f"The drift reference has {len(pair.reference)} rows; windows of {rows} rows need twice as many.",
            hint=f"Use a reference of {2 * rows} rows or more, or shorter windows.",
        )
    draws = _draws(len(names), rate.per_look)
    if draws is not None:
        drawn = _drawn(pair, losses, rows, draws, policy.seed)
        if fitted := _fitted(drawn, names, rate.per_look, rows):
            return fitted
    limits = dict.fromkeys(names, rate.per_look / len(names))
    limits[PAIRS] = _pairs_limit(pair.raw[0], rows, limits[PAIRS], policy.seed)
    return Calibration(rate.per_look, limits, rate.per_look / len(names), rows, 0, False, 0.0, rate.per_look)


def _draws(tests: int, per_look: float) -> int | None:
    """As many that the rate shows with every test alarming at least once; None if that is too many."""
    needed = math.ceil(3 * (tests + 10) / per_look)
    return max(LEAST_DRAWS, needed) if needed <= MOST_DRAWS else None


def _fitted(drawn: Array, names: list[str], per_look: float, rows: int) -> Calibration | None:
    """The most alarms a test that keep the family's bound; None if one of each is too many."""
    draws, ranked = len(drawn), np.sort(drawn, axis=0)

    def alarms(each: int) -> int:
        return int((drawn <= ranked[each - 1]).any(axis=1).sum())

    low, high = 0, draws // 2
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if upper_bound(alarms(middle), draws) <= per_look else (low, middle - 1)
    if low == 0:
        return None
    limits = dict(zip(names, map(float, ranked[low - 1]), strict=True))
    seen = alarms(low)
    otherwise = per_look / len(names)
    return Calibration(per_look, limits, otherwise, rows, draws, True, seen / draws, upper_bound(seen, draws))


def upper_bound(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided Clopper-Pearson bound of a share."""
    return 1.0 if successes >= trials else float(beta.ppf(confidence, successes + 1, trials - successes))


def _drawn(pair: Comparison, losses: Array | None, rows: int, draws: int, seed: int) -> Array:
    """p-values of each test in windows without drift; shape [draws, tests]."""
    nulls = [_column(pair, name, rows) for name in pair.methods]
    nulls.append(_pairs(pair.raw[0]))
    if losses is not None:
        nulls.append(_quality(np.random.default_rng(seed).choice(losses, len(pair.reference)), rows))
    chunks = [[null.statistic(chosen) for null in nulls] for chosen in _windows(len(pair.reference), rows, draws, seed)]
    found = [np.concatenate(each) for each in zip(*chunks, strict=True)]
    return np.column_stack([null.p_values(each) for null, each in zip(nulls, found, strict=True)])


@dataclass(frozen=True)
class _Null:
    """One test in windows that are rows of the reference: what is computed of them, and the p-values of that."""

    statistic: Callable[[Chosen], Array]
    p_values: Callable[[Array], Array]


def _column(pair: Comparison, name: str, rows: int) -> _Null:
    numbered, levels = pair.reference[name].factorize(sort=True)
    missing, rest = numbered < 0, len(numbered) - rows
    if pair.methods[name] == KS:  # a missing value is one of the others at random: the test leaves it out
        numbered[missing] = np.random.default_rng(0).choice(numbered[~missing], missing.sum())
        codes = numbered.astype(np.uint16)
        totals = np.bincount(codes)
        return _Null(lambda chosen: _distances(codes[chosen], totals), lambda found: _in_tail(found, rows, rest))
    numbered[missing] = len(levels)  # of no level
    totals = np.bincount(numbered, minlength=len(levels) + 1)[: len(levels)]

    def least(chosen: Chosen) -> Array:
        return _level_p_values(_counts(numbered[chosen], len(levels) + 1), totals, rows, rows + rest)

    return _Null(least, lambda found: found)


def _pairs(reference: pd.DataFrame) -> _Null:
    found = _joint.scores(reference)
    spread = _joint.spreads(found)
    return _Null(
        lambda chosen: _joint.largest(_joint.statistics(found, chosen, spread)), lambda z: _joint.p_values(z, found)
    )


def _quality(losses: Array, rows: int) -> _Null:
    ranks = rankdata(losses)
    return _Null(
        lambda chosen: np.asarray(ranks[chosen].sum(axis=1)), lambda sums: _rank_sum_p_values(sums, ranks, rows)
    )


def _windows(total: int, rows: int, draws: int, seed: int) -> Iterator[Chosen]:
    """Rows of windows drawn without replacement, in chunks of shape [windows, rows]."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _CHUNK):
        yield np.stack(
            [rng.choice(total, rows, replace=False, shuffle=False) for _ in range(min(_CHUNK, draws - start))]
        )


def _distances(drawn: npt.NDArray[np.uint16], totals: Counts) -> Array:
    """Kolmogorov-Smirnov distances of windows from the rest of the reference; shape [windows]."""
    rows = drawn.shape[1]
    upto = np.cumsum(totals).astype(np.float64)
    before = np.r_[0.0, upto[:-1]]
    ranked = np.sort(drawn, axis=1, kind="stable")
    last = np.ones(ranked.shape, dtype=bool)
    last[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    first = np.ones(ranked.shape, dtype=bool)
    first[:, 1:] = last[:, :-1]
    place = np.arange(1, rows + 1, dtype=np.float64)
    rest = int(totals.sum()) - rows

    def gap(inside: Array, all_of_them: Array) -> Array:
        return np.asarray(np.abs(inside / rows - (all_of_them - inside) / rest))

    above = np.where(last, gap(place, upto[ranked]), 0.0).max(axis=1)
    below = np.where(first, gap(place - 1, before[ranked]), 0.0).max(axis=1)
    return np.asarray(np.maximum(above, below))


def _counts(drawn: Chosen, levels: int) -> Counts:
    """How often each level is in each window; shape [windows, levels]."""
    offsets = np.arange(len(drawn))[:, None] * levels
    return np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * levels).reshape(len(drawn), levels)


def _level_p_values(counts: Counts, totals: Counts, rows: int, whole: int) -> Array:
    """As levels_p_value, for many windows: the tails of a level are looked up, as its counts are few."""
    least = np.ones(len(counts))
    for level, total in enumerate(totals):
        seen, where = np.unique(counts[:, level], return_inverse=True)
        low = hypergeom.cdf(seen, whole, int(total), rows)
        high = hypergeom.sf(seen - 1, whole, int(total), rows)
        least = np.minimum(least, np.minimum(low, high)[where])
    tests = len(totals) if len(totals) > 2 else 1
    return np.asarray(np.minimum(1.0, 2.0 * tests * least))


def quality_p_value(reference: Array, window: Array) -> float:
    """One-sided: whether the window's squared errors are larger (Mann-Whitney, normal approximation with ties)."""
    ranks = rankdata(np.concatenate([window, reference]))
    sums = np.array([ranks[: len(window)].sum()])
    return float(_rank_sum_p_values(sums, ranks, len(window))[0])


def _rank_sum_p_values(sums: Array, ranks: Array, rows: int) -> Array:
    """Of rank sums of windows of `rows` rows; the variance is that of draws without replacement, ties included."""
    total = len(ranks)
    variance = ranks.var() * rows * (total - rows) / (total - 1)
    return np.asarray(norm.sf((sums - rows * ranks.mean() - 0.5) / math.sqrt(max(variance, 1e-12))))


def _in_tail(distances: Array, rows: int, rest: int) -> Array:
    """p-values of the largest distances; the others get 1, as no threshold is among them."""
    found = np.ones(len(distances))
    tail = distances >= np.quantile(distances, 1 - _TAIL)
    distinct, where = np.unique(distances[tail], return_inverse=True)
    found[tail] = np.array([ks_p_value(each, rows, rest) for each in distinct])[where]
    return found


def _pairs_limit(reference: pd.DataFrame, rows: int, wanted: float, seed: int) -> float:
    """The pairs' p-value for a rate that draws cannot show, by a tail of z that falls as an exponential does.

    The tail of a correlation's z is heavier than the normal one that its p-value is of, and lighter than this. Rare
    values make lumps in it, so that no draw may reach the limit either.
    """
    null = _pairs(reference)
    z = np.concatenate([null.statistic(chosen) for chosen in _windows(len(reference), rows, PAIRS_DRAWS, seed)])
    begin = float(np.quantile(z, 1 - _TAIL))
    slope = float((z[z > begin] - begin).mean()) if (z > begin).any() else 1.0
    limit = max(begin + slope * math.log(_TAIL / wanted), float(z.max()) * (1 + 1e-9)) if wanted < _TAIL else begin
    return min(wanted, float(null.p_values(np.array([limit]))[0]))
