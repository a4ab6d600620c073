"""How large the windows of a drift check are, and which rows the shifted one has; decided from the held-out rows.

Control and reference are held-out rows too, because a model answers its own training rows differently. So the held-out
rows have to give both: with n of H rows as the control, the test has the power of n (H - n) / H rows.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import CapabilityMissing, DataError
from harness.lifecycle._comparison import DriftPolicy, effective_rows, rows_needed

if TYPE_CHECKING:
    import pandas as pd

USUAL_ROWS = 400
"""A window has this many rows unless that is too few to find the shift."""

AUTOMATIC_SHARES = (0.25, 1 / 3, 0.5)
"""The shares of the rows that the automatic condition tries to take, the most extreme first."""


MOST_ROWS = 100_000_000
"""Beyond this many held-out rows nothing is looked for."""


@dataclass(frozen=True)
class Condition:
    """Rows that are surely no random sample: in words (a pandas query), and as a mask."""

    words: str
    mask: pd.Series


def window_rows(held_out: int, columns: int, policy: DriftPolicy) -> int | None:
    """Rows of the control window, the reference being all other held-out rows; None if no size is enough.

    `columns` are those compared, the prediction among them. The smallest n with n (H - n) / H >= e solves
    n = H (1 - sqrt(1 - 4 e / H)) / 2.
    """
    if _is_enough(USUAL_ROWS, held_out, columns, policy):
        return USUAL_ROWS
    share = 4 * effective_rows(columns, policy) / held_out if held_out else math.inf
    if share >= 1:
        return None
    least = math.ceil(held_out * (1 - math.sqrt(1 - share)) / 2)
    return next((rows for rows in (least, least + 1) if _is_enough(rows, held_out, columns, policy)), None)


def least_matching(held_out: int, columns: int, policy: DriftPolicy) -> int | None:
    """Rows that a condition must match to make a window against what the control leaves; None without a control."""
    control = window_rows(held_out, columns, policy)
    return None if control is None else rows_needed(held_out - control, columns, policy)


def rows_to_bring(share: float, columns: int, policy: DriftPolicy, *, held_out_share: float) -> int:
    """Rows a data file needs so that this `share` of its held-out part makes a window."""

    def fits(held_out: int) -> bool:
        least = least_matching(held_out, columns, policy)
        return least is not None and least <= min(share, AUTOMATIC_SHARES[-1]) * held_out

    return math.ceil(bisect.bisect_left(range(MOST_ROWS), True, key=fits) / held_out_share)


def require_window_rows(held_out: int, columns: int, policy: DriftPolicy, *, held_out_share: float) -> int:
    """`window_rows`; raises CapabilityMissing with what to bring where the held-out rows cannot give a window."""
    rows = window_rows(held_out, columns, policy)
    if rows is None:
        least = math.ceil(2 * effective_rows(columns, policy))
        bring = rows_to_bring(AUTOMATIC_SHARES[-1], columns, policy, held_out_share=held_out_share)
        raise _too_few(f"the held-out rows are {held_out}", least, policy, bring)
    return rows


def require_matching(
    condition: str, matching: int, held_out: int, columns: int, policy: DriftPolicy, *, held_out_share: float
) -> None:
    """Raises where a user's condition matches too few held-out rows for a window: DataError if it matches none."""
    least = least_matching(held_out, columns, policy)
    if not matching:
        raise DataError(f"the condition {condition!r} matches none of the {held_out} held-out rows")
    if least is not None and matching < least:
        bring = rows_to_bring(matching / held_out, columns, policy, held_out_share=held_out_share)
        words = f"the condition {condition!r} matches {matching} of {held_out} held-out rows"
        raise _too_few(words, least, policy, bring, "or a condition that more rows match")


def automatic_condition(features: pd.DataFrame, needed: int) -> Condition:
    """The most extreme condition that still matches `needed` rows; of numbers the one with the most distinct values.

    Numbers are taken from the top, a text by a frequent value. Raises CapabilityMissing if no feature splits so.
    """
    for condition in _candidates(features):
        matching = int(condition.mask.sum())
        if needed <= matching <= AUTOMATIC_SHARES[-1] * len(features):
            return condition
    raise CapabilityMissing(
        "drift",
        hint=f"no feature has a part of {needed} to {len(features) // 2} of the {len(features)} held-out rows to shift "
        'to; name one: [data] drift = "age >= 60".',
    )


def _candidates(features: pd.DataFrame) -> Iterator[Condition]:
    numbers = features.select_dtypes("number")
    ordered = numbers.nunique().sort_values(ascending=False, kind="stable").index
    for share in AUTOMATIC_SHARES:
        for name in ordered:
            bound = float(numbers[name].quantile(1 - share))
            yield Condition(f"`{name}` >= {bound:g}", numbers[name] >= float(f"{bound:g}"))
    for name in features.columns.difference(ordered, sort=False):
        for value in features[name].value_counts().index:
            yield Condition(f"`{name}` == {value!r}", features[name] == value)


def _is_enough(rows: int, held_out: int, columns: int, policy: DriftPolicy) -> bool:
    needed = rows_needed(held_out - rows, columns, policy)
    return needed is not None and needed <= rows


def _too_few(found: str, needed: int, policy: DriftPolicy, bring: int, otherwise: str = "") -> CapabilityMissing:
    reason = f"{found}; a window needs {needed} rows to find a shift of {policy.detectable:g}; bring at least "
    return CapabilityMissing("drift", hint=f"{reason}{bring:,} rows{', ' + otherwise if otherwise else ''}.")
