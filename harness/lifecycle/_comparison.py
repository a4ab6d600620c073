"""What a drift verdict compares: the two frames column by column, each with a test that is exact at any size.

Every choice here (is a column numeric, which levels are rare) looks at reference and window together, so it does not
depend on which rows are the window: that is what keeps a permutation argument, and so the false-alarm rate, valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

KS = "ks"
"""The two-sample Kolmogorov-Smirnov test."""

LEVELS = "fisher-levels"
"""Fisher's exact test of each level; a chi-square test against the reference's shares would take those as exact."""

MISSING = " is missing"


@dataclass(frozen=True)
class DriftPolicy:
    """What counts as drift; probabilities in [0, 1].

    `detectable` is the smallest shift worth finding, as the largest gap between two cumulative distributions (for a
    category: between two shares); a window must be large enough to find it with probability `power`.
    """

    false_alarm: float = 1e-3
    detectable: float = 0.2
    power: float = 0.99
    few_levels: int = 20
    most_levels: int = 50
    most_rows: int = 5_000
    most_reference_rows: int = 50_000
    seed: int = 0


def threshold(tests: int, policy: DriftPolicy) -> float:
    """The p-value at which one of `tests` columns counts as drifted (Bonferroni)."""
    return policy.false_alarm / max(1, tests)


def rows_needed(reference_rows: int, columns: int, policy: DriftPolicy) -> int | None:
    """Rows a window needs to find a shift of `policy.detectable` with `policy.power`; None: the reference is too small.

    The Kolmogorov-Smirnov test rejects at D >= sqrt(ln(2 / p) / (2 n_eff)) with n_eff = n m / (n + m)
    (Dvoretzky-Kiefer-Wolfowitz with Massart's constant); with probability `power` the observed D exceeds the true one
    less z_power * 0.5 / sqrt(n_eff), the binomial deviation at the gap.
    """
    effective = effective_rows(columns, policy)
    if reference_rows <= effective:
        return None
    return math.ceil(effective * reference_rows / (reference_rows - effective))


def least_reference(columns: int, policy: DriftPolicy) -> int:
    """Rows a reference needs so that the windows that it can judge are at most half as long, as a calibration asks."""
    return math.ceil(3 * effective_rows(columns, policy))


def effective_rows(columns: int, policy: DriftPolicy) -> float:
    """The n_eff of `rows_needed`: n m / (n + m) of a window of n and a reference of m rows must reach it."""
    reject = math.sqrt(math.log(2.0 / threshold(columns, policy)) / 2.0)
    return float(((reject + 0.5 * NormalDist().inv_cdf(policy.power)) / policy.detectable) ** 2)


@dataclass(frozen=True)
class Comparison:
    """The frames as they are compared: the same columns, categories as labels; `methods`: column -> KS or LEVELS.

    `raw` are the reference's and the window's rows as they came, which the pairs of columns are judged by.
    """

    reference: pd.DataFrame
    window: pd.DataFrame
    methods: Mapping[str, str]
    raw: tuple[pd.DataFrame, pd.DataFrame]

    @classmethod
    def of(cls, reference: pd.DataFrame, window: pd.DataFrame, name: str, policy: DriftPolicy) -> Comparison:
        _check(reference, window, name, policy)
        return cls.unchecked(reference, window, name, policy)

    @classmethod
    def unchecked(cls, reference: pd.DataFrame, window: pd.DataFrame, name: str, policy: DriftPolicy) -> Comparison:
        """As `of`, whatever the frames' sizes are."""
        reference = _sample(reference, policy.most_reference_rows, policy.seed)
        window = _sample(window, policy.most_rows, policy.seed)
        methods: dict[str, str] = {}
        left: dict[str, pd.Series] = {}
        right: dict[str, pd.Series] = {}
        for column in reference.columns:
            for title, old, new, method in _tests(reference[column], window[column], name, policy):
                left[title], right[title], methods[title] = old, new, method
        import pandas as pd

        return cls(pd.DataFrame(left), pd.DataFrame(right), methods, (reference, _like(reference, window)))

    def p_value(self, test: str) -> float:
        """Of one of `methods`."""
        if self.methods[test] == LEVELS:
            return levels_p_value(self.reference[test], self.window[test])
        return ks_of(self.reference[test].to_numpy(), self.window[test].to_numpy())


def _like(reference: pd.DataFrame, window: pd.DataFrame) -> pd.DataFrame:
    """The window's columns as the reference has them: numbers where it has numbers, whatever JSON made of them."""
    import pandas as pd
    from pandas.api import types

    numeric = [name for name in reference.columns if types.is_numeric_dtype(reference[name].dtype)]
    numbers = {name: pd.to_numeric(window[name], errors="coerce") for name in numeric}
    return window[reference.columns].assign(**numbers)


def alone(reference: pd.DataFrame, policy: DriftPolicy) -> Comparison:
    """The reference beside itself: the columns and tests of any window that is like it."""
    return Comparison.unchecked(reference, reference, "reference", policy)


def _check(reference: pd.DataFrame, window: pd.DataFrame, name: str, policy: DriftPolicy) -> None:
    absent = [str(column) for column in reference.columns if column not in window.columns]
    if absent:
        raise DataError(
            f"Drift window {name!r} lacks {_words(absent)} of the reference (it has {_words(window.columns)}).",
            hint="Send every reference column with the traffic, the prediction too, or drop it from the reference.",
        )
    if not len(reference.columns):
        raise DataError("The drift reference has no columns.", hint="Give it the model's features and the prediction.")
    needed = rows_needed(len(reference), len(reference.columns), policy)
    if needed is None:
        least = math.floor(effective_rows(len(reference.columns), policy)) + 1
        raise DataError(
            f"The drift reference has {len(reference)} rows; to find a shift of {policy.detectable:g} it needs more "
            f"than {least}.",
            hint=f"Use a reference of {4 * least} rows or more, or raise DriftPolicy.detectable.",
        )
    if len(window) < min(needed, policy.most_rows):
        raise DataError(
            f"Drift window {name!r} has {len(window)} rows, too few to judge: {needed} are needed against "
            f"{len(reference)} reference rows and {len(reference.columns)} columns.",
            hint=f"Take a longer window or replay {needed} rows or more, or raise DriftPolicy.detectable (now "
            f"{policy.detectable:g}).",
        )


def _words(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _sample(frame: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most `most` rows, so that the sensitivity of a verdict does not grow with the traffic without bound."""
    kept = frame if len(frame) <= most else frame.sample(most, random_state=seed)
    return kept.reset_index(drop=True)


def _tests(
    old: pd.Series, new: pd.Series, name: str, policy: DriftPolicy
) -> list[tuple[str, pd.Series, pd.Series, str]]:
    """The comparisons of one column: its values, and whether it is missing if it ever is."""
    title = str(old.name)
    old, new = _numbers_or_labels(old, new, name)
    found: list[tuple[str, pd.Series, pd.Series, str]] = []
    if old.notna().any() and new.notna().any():
        old_values, new_values, method = _as_compared(old, new, policy)
        found.append((title, old_values, new_values, method))
    if old.isna().any() or new.isna().any():
        yes_no = {True: "yes", False: "no"}
        found.append((title + MISSING, old.isna().map(yes_no), new.isna().map(yes_no), LEVELS))
    return found


def _numbers_or_labels(old: pd.Series, new: pd.Series, name: str) -> tuple[pd.Series, pd.Series]:
    """Both as floats if the reference is numeric (times as seconds, infinities as missing), else both as they are."""
    import pandas as pd
    from pandas.api import types

    if types.is_datetime64_any_dtype(old.dtype):
        return tuple(pd.to_datetime(side, utc=True).map(pd.Timestamp.timestamp) for side in (old, new))  # type: ignore[return-value]
    if not types.is_numeric_dtype(old.dtype) or types.is_bool_dtype(old.dtype):
        return old, new
    try:
        numbers = [pd.to_numeric(side).astype("float64") for side in (old, new)]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {str(old.name)!r} of drift window {name!r} is not numeric as in the reference: {error}.",
            hint="Send the column with the type that the model was trained on.",
        ) from error
    infinite = [float("inf"), float("-inf")]
    return numbers[0].replace(infinite, float("nan")), numbers[1].replace(infinite, float("nan"))


def _as_compared(old: pd.Series, new: pd.Series, policy: DriftPolicy) -> tuple[pd.Series, pd.Series, str]:
    import pandas as pd

    pooled = pd.concat([old, new], ignore_index=True)
    numeric = pd.api.types.is_float_dtype(pooled.dtype)
    if numeric and pooled.nunique() > policy.few_levels:
        return old, new, KS
    codes, values = pd.factorize(pooled)
    names = pd.Series([format(value, "g") if numeric else str(value) for value in values], dtype=object)
    labels = names.reindex(codes).reset_index(drop=True)
    counts = labels.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) > policy.most_levels:
        frequent = counts.index[: policy.most_levels - 1]
        labels = labels.where(labels.isna() | labels.isin(frequent), "(other)")
    return labels.iloc[: len(old)], labels.iloc[len(old) :].reset_index(drop=True), LEVELS


def ks_of(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    """Two-sided p-value of the largest gap between two samples' distributions; missing values are left out."""
    import numpy as np

    old, new = np.sort(old[~np.isnan(old)]), np.sort(new[~np.isnan(new)])
    pooled = np.concatenate([old, new])
    gaps = np.searchsorted(old, pooled, "right") / len(old) - np.searchsorted(new, pooled, "right") / len(new)
    return ks_p_value(float(np.abs(gaps).max()), len(new), len(old))


def ks_p_value(distance: float, rows: int, reference_rows: int) -> float:
    """Of a gap between samples of these sizes, by the distribution of one sample of n_eff = n m / (n + m) rows.

    Exact two-sample probabilities take seconds from 5,000 rows on; scipy's own two-sample test does as this does then.
    """
    from scipy.stats import kstwo

    effective = round(rows * reference_rows / (rows + reference_rows))
    return float(kstwo.sf(distance, max(1, effective)))


def levels_p_value(old: pd.Series, new: pd.Series) -> float:
    """Two-sided Fisher exact p-value of each level (doubled tail), Bonferroni over the levels; exact at any size."""
    import numpy as np
    from scipy.stats import hypergeom

    counts_old, counts_new = old.value_counts(), new.value_counts()
    pooled = counts_old.add(counts_new, fill_value=0)
    seen = counts_new.reindex(pooled.index, fill_value=0).to_numpy()
    total, rows = len(old) + len(new), len(new)
    level = pooled.to_numpy()
    low = hypergeom.cdf(seen, total, level, rows)
    high = hypergeom.sf(seen - 1, total, level, rows)
    # Of two levels one count decides the other: it is one test.
    tests = len(level) if len(level) > 2 else 1
    return float(min(1.0, 2.0 * tests * np.minimum(low, high).min()))
