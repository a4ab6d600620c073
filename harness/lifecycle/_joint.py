"""What no column alone can show: whether columns still go together as in the reference. Heavy: numpy, scipy.

Each pair of columns has one rank correlation in the window and one in the reference (of normal scores of the pooled
ranks; a text is an indicator of each of its frequent values). Their difference over its standard error, which is that
of a correlation's influence function (x y - r (x^2 + y^2) / 2), is near normal when both are the same population.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

MOST_LEVELS = 4
"""Of a text column so many values are looked at."""
MOST_COLUMNS = 40


@dataclass(frozen=True)
class Scores:
    """Columns as they are correlated: shape [n, k], names of the k."""

    values: Array
    names: tuple[str, ...]

    @property
    def pairs(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Indices of each pair once; indicators of one column are no pair, as they exclude each other."""
        left, right = np.triu_indices(len(self.names), 1)
        of = np.array([name.partition("=")[0] for name in self.names])
        keep = of[left] != of[right]
        return left[keep], right[keep]


def scores(pooled: pd.DataFrame) -> Scores:
    """Normal scores of numbers, indicators of frequent texts, each with mean 0 and variance 1; a missing value is 0."""
    columns: list[Array] = []
    names: list[str] = []
    for name in pooled.columns:
        for title, values in _numbers(str(name), pooled[name]):
            known = ~np.isnan(values)
            spread = values[known].std() if known.any() else 0.0
            if spread > 0 and len(names) < MOST_COLUMNS:
                columns.append(np.where(known, (values - values[known].mean()) / spread, 0.0))
                names.append(title)
    return Scores(np.column_stack(columns) if columns else np.empty((len(pooled), 0)), tuple(names))


def spreads(found: Scores) -> Array:
    """The standard deviation of each pair's influence function, shape [pairs]."""
    left, right = found.pairs
    x, squares, rows = found.values, found.values**2, len(found.values)
    r = x.T @ x / rows
    both = squares.T @ squares / rows
    cubes = (squares * x).T @ x / rows
    fourth = np.diag(both)
    variance = both - r * (cubes + cubes.T) + r**2 / 4 * (fourth[:, None] + 2 * both + fourth[None, :])
    return np.asarray(np.sqrt(np.maximum(variance[left, right], 1e-18)))


def statistics(found: Scores, chosen: npt.NDArray[np.intp], spread: Array) -> Array:
    """z of each pair for windows that are rows of `found`: `chosen` has shape [windows, n]; shape [windows, pairs]."""
    left, right = found.pairs
    values, rows = found.values, len(found.values)
    total_1, total_2 = values.sum(axis=0), values.T @ values
    inside = values[chosen]
    some_1, some_2 = inside.sum(axis=1), np.matmul(inside.transpose(0, 2, 1), inside)
    n, m = chosen.shape[1], rows - chosen.shape[1]
    mine = _correlations(some_1, some_2, n)[:, left, right]
    yours = _correlations(total_1 - some_1, total_2 - some_2, m)[:, left, right]
    return np.asarray((mine - yours) / (spread * np.sqrt(1 / n + 1 / m)))


def largest(z: Array) -> Array:
    """|z| of the pair that changed most; shape [windows]."""
    return np.asarray(np.abs(z).max(axis=1)) if z.shape[1] else np.zeros(len(z))


def p_values(z: Array, found: Scores) -> Array:
    """Of the largest |z|: two-sided, corrected for the number of pairs (Bonferroni); shape as z."""
    return (
        np.asarray(np.minimum(1.0, 2.0 * len(found.pairs[0]) * norm.sf(z))) if len(found.pairs[0]) else np.ones(len(z))
    )


def judge(reference: pd.DataFrame, window: pd.DataFrame) -> tuple[float, str]:
    """The p-value of the pair that changed most, and its name; 1 and "" if there are no pairs."""
    import pandas as pd

    found = scores(pd.concat([window, reference], ignore_index=True))
    left, right = found.pairs
    if not len(left):
        return 1.0, ""
    z = statistics(found, np.arange(len(window))[None, :], spreads(found))
    most = int(np.abs(z[0]).argmax())
    return float(p_values(largest(z), found)[0]), f"{found.names[left[most]]} and {found.names[right[most]]}"


def _numbers(name: str, column: pd.Series) -> list[tuple[str, Array]]:
    from pandas.api import types

    if types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        ranks = rankdata(values, nan_policy="omit")
        return [(name, norm.ppf(ranks / (np.count_nonzero(~np.isnan(values)) + 1)))]
    levels = column.astype("string").value_counts().index[:MOST_LEVELS]
    missing = column.isna().to_numpy()
    text = column.astype("string")
    return [
        (f"{name}={level}", np.where(missing, np.nan, (text == level).to_numpy(float, na_value=0))) for level in levels
    ]


def _correlations(sums: Array, products: Array, rows: int) -> Array:
    mean = sums / rows
    covariance = products / rows - mean[:, :, None] * mean[:, None, :]
    spread = np.sqrt(np.maximum(np.einsum("wii->wi", covariance), 1e-12))
    return np.asarray(covariance / (spread[:, :, None] * spread[:, None, :]))
