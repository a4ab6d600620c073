"""Broken rows are quarantined with their reasons; a broken schema stops the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.validation import validate


def table(rows: int = 100, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"age": np.linspace(20, 80, rows), "left": [float(at % 2) for at in range(rows)]})
    return frame.assign(**columns)


def dataset(**choices: Any) -> Dataset:
    return Dataset(**{"name": "mine", "source": "mine.csv", "target": "left", **choices})


def test_broken_rows_are_counted_and_set_aside_with_their_reasons() -> None:
    """Not a number, infinite, out of range, no target: each is one quarantined row, and the others stay."""
    frame = table().astype({"age": object})
    frame.loc[3, "age"] = "old"
    frame.loc[4, "age"] = np.inf
    frame.loc[5, "age"] = 190
    frame.loc[6, "left"] = np.nan
    usable, broken, report = validate(frame, dataset(ranges={"age": (0, 120)}))
    assert (len(usable), len(broken), report.quarantined) == (96, 4, 4)
    assert report.reasons == {
        "age: not a number": 1,
        "age: infinite": 1,
        "age: outside 0 to 120": 2,
        "left: missing": 1,
    }
    assert broken.loc[4, "quarantine_reason"] == "age: infinite; age: outside 0 to 120"
    assert usable["age"].dtype == np.float64
    assert usable["left"].dtype == np.int64


def test_a_missing_feature_value_is_no_broken_row() -> None:
    """The feature transformer fills gaps; validation keeps such rows."""
    frame = table()
    frame.loc[3, "age"] = np.nan
    usable, _, report = validate(frame, dataset())
    assert report.quarantined == 0
    assert usable["age"].isna().sum() == 1


def test_kinds_are_inferred_from_the_values() -> None:
    """A text column whose values are numbers is a number column; true/false counts as one."""
    _, _, report = validate(
        table(weight=[str(at) for at in range(100)], member=[True, False] * 50, city=["a", "b"] * 50), dataset()
    )
    assert report.kinds == {"age": "number", "weight": "number", "member": "number", "city": "text"}


BROKEN: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "declared number holds text": (
        table(weight=["heavy", "light"] * 50),
        {"columns": {"weight": "number"}},
        "column 'weight': broken schema: declared number, 100% of its values are not",
    ),
    "a date": (table(day=pd.date_range("2024-01-01", periods=100)), {}, "column 'day' is of type datetime64"),
    "an identifier": (
        table(code=[f"P{at}" for at in range(100)]),
        {},
        "column 'code' is text with another value in every row",
    ),
    "too many broken rows": (
        table(),
        {"ranges": {"age": (0, 30)}},
        "rows are broken, more than 20%; most often: age: outside",
    ),
    "one class left": (
        table(left=[1.0] * 11 + [0.0] * 89, bmi=[999.0] * 11 + [22.0] * 88 + [23.0]),
        {"ranges": {"bmi": (10, 80)}},
        "one class only",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_schema_stops_the_run(case: str) -> None:
    """What makes the whole file unusable is a DataError that names the column."""
    frame, choices, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        validate(frame, dataset(**choices))


def test_a_declared_text_column_of_numbers_stays_text() -> None:
    """Postal codes are not quantities."""
    usable, _, report = validate(table(postcode=[89073, 10115] * 50), dataset(columns={"postcode": "text"}))
    assert report.kinds["postcode"] == "text"
    assert usable["postcode"].iloc[0] == "89073"
