"""How large drift windows are, and what the shifted one is, decided from the held-out rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.errors import CapabilityMissing, DataError
from harness.lifecycle._comparison import DriftPolicy, effective_rows, rows_needed
from harness.lifecycle.windows import (
    AUTOMATIC_SHARES,
    USUAL_ROWS,
    automatic_condition,
    require_matching,
    require_window_rows,
    rows_to_bring,
    window_rows,
)

POLICY = DriftPolicy()
SHARE = 0.25


@pytest.mark.parametrize("columns", [2, 9, 60])
def test_a_window_is_large_enough_against_the_rest_and_never_larger_than_it_must_be(columns: int) -> None:
    """Every held-out size either gives a window that `rows_needed` accepts, or no size at all would do."""
    for held_out in range(0, 4000, 7):
        rows = window_rows(held_out, columns, POLICY)
        enough = [n for n in range(1, held_out) if (rows_needed(held_out - n, columns, POLICY) or held_out) <= n]
        if rows is None:
            assert not enough
        else:
            assert rows in (USUAL_ROWS, enough[0])


def test_plenty_of_rows_give_windows_of_the_usual_size() -> None:
    """The default data: 5,048 held-out rows."""
    assert window_rows(5048, 10, POLICY) == USUAL_ROWS


def test_500_rows_are_told_what_to_bring_and_that_is_enough() -> None:
    """125 held-out rows give no window; the number of rows that the reason names does."""
    with pytest.raises(CapabilityMissing) as caught:
        require_window_rows(125, 9, POLICY, held_out_share=SHARE)
    bring = rows_to_bring(AUTOMATIC_SHARES[-1], 9, POLICY, held_out_share=SHARE)
    assert caught.value.hint == (
        f"the held-out rows are 125; a window needs {round(2 * effective_rows(9, POLICY)) + 1} rows to find a shift of "
        f"0.2; bring at least {bring:,} rows."
    )
    held_out = int(bring * SHARE)
    needed = require_window_rows(held_out, 9, POLICY, held_out_share=SHARE)
    assert needed <= held_out * AUTOMATIC_SHARES[-1]


def test_a_condition_that_too_few_rows_match_is_told_the_same_and_one_that_none_matches_is_a_mistake() -> None:
    """60 of 1,592 rows are no window; bringing what the reason names makes them one."""
    with pytest.raises(CapabilityMissing) as caught:
        require_matching("age > 90", 60, 1592, 9, POLICY, held_out_share=SHARE)
    assert caught.value.hint.startswith(
        "the condition 'age > 90' matches 60 of 1592 held-out rows; a window needs 375 rows"
    )
    bring = rows_to_bring(60 / 1592, 9, POLICY, held_out_share=SHARE)
    assert f"bring at least {bring:,} rows, or a condition that more rows match." in caught.value.hint
    require_matching(
        "age > 90", round(bring * SHARE * 60 / 1592), round(bring * SHARE), 9, POLICY, held_out_share=SHARE
    )
    with pytest.raises(DataError, match="'age > 90' matches none of the 1592 held-out rows"):
        require_matching("age > 90", 0, 1592, 9, POLICY, held_out_share=SHARE)


def test_the_automatic_condition_takes_the_upper_quarter_of_the_most_distinct_numbers() -> None:
    """In words that pandas understands, with any column name; the mask has the same rows."""
    frame = pd.DataFrame({"flag": [0.0, 1.0] * 500, "Größe (cm)": np.arange(1000) / 3})
    chosen = automatic_condition(frame, 200)
    assert chosen.words == "`Größe (cm)` >= 249.75"
    assert frame.query(chosen.words).index.equals(frame[chosen.mask].index)
    assert chosen.mask.sum() == 250


def test_the_automatic_condition_takes_more_rows_where_a_quarter_is_too_few() -> None:
    """Half of the rows is the most: it is still far from a random sample."""
    frame = pd.DataFrame({"age": np.arange(1000.0)})
    assert automatic_condition(frame, 300).mask.sum() == 334
    assert automatic_condition(frame, 500).mask.sum() == 500
    with pytest.raises(CapabilityMissing, match="no feature has a part of 501 to 500 of the 1000 held-out rows"):
        automatic_condition(frame, 501)


def test_the_automatic_condition_never_takes_nearly_all_rows() -> None:
    """A flag that is nearly always 1 has an upper quarter of nearly all rows; a text that splits is taken instead."""
    frame = pd.DataFrame({"flag": [1.0] * 950 + [0.0] * 50, "plan": ["a"] * 600 + ["b"] * 400})
    chosen = automatic_condition(frame, 300)
    assert chosen.words == "`plan` == 'b'"
    assert chosen.mask.sum() == 400


def test_missing_values_are_in_no_automatic_window() -> None:
    """A gap is neither above a bound nor a frequent value."""
    frame = pd.DataFrame({"plan": [None] * 400 + ["a"] * 300 + ["b"] * 300})
    assert automatic_condition(frame, 200).words == "`plan` == 'a'"
    gaps = pd.DataFrame({"age": [np.nan] * 500 + list(range(500))}, dtype="float64")
    assert gaps[automatic_condition(gaps, 100).mask].age.min() == 375
