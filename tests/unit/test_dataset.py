"""A user's data file is either loaded, or refused in one line that says what is wrong and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError
from harness.lifecycle.dataset import Dataset, fingerprint, high_utiliser, load, source_digest
from harness.lifecycle.validation import validate


def table(rows: int = 100, **columns: Any) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.normal(50, 9, rows), "left": [at % 2 for at in range(rows)]})
    return frame.assign(**columns)


def dataset(path: Path, frame: pd.DataFrame | None = None, **choices: Any) -> Dataset:
    if frame is not None:
        frame.to_csv(path, index=False)
    return Dataset(**{"name": "mine", "source": str(path), "target": "left", **choices})


def test_the_built_in_data_is_the_rand_experiment_with_a_fifth_of_high_utilisers() -> None:
    """20,190 rows, visits >= 5 is the target, and visits themselves are not a feature."""
    frame = load(high_utiliser())
    assert frame.shape == (20190, 11)
    assert frame["high_utiliser"].mean() == pytest.approx(0.20, abs=0.005)
    assert "visits" not in frame.columns
    assert frame["poor_health"].mean() == pytest.approx(0.092, abs=0.005)


def test_a_higher_threshold_makes_fewer_high_utilisers() -> None:
    """The threshold is a field of the data set, not a constant."""
    assert load(high_utiliser(threshold=10))["high_utiliser"].mean() < 0.1


def test_a_dataset_survives_json() -> None:
    """Data sets cross process borders as JSON."""
    made = Dataset("a", "b.csv", "c", slices=("d",), ignore=("e",), columns={"d": "text"}, ranges={"f": (0.0, 1.5)})
    assert Dataset.from_json(made.to_json()) == made


def test_an_unknown_key_is_refused_by_name() -> None:
    """A misspelt key of the configuration is named, with the allowed ones."""
    with pytest.raises(DataError, match=r"unknown key targt; allowed: .*target"):
        Dataset.from_dict({"name": "a", "source": "b.csv", "targt": "c"})


def test_csv_and_parquet_with_the_same_rows_have_the_same_fingerprint(tmp_path: Path) -> None:
    """The fingerprint is of the content, not of the file."""
    frame = table(city=["Ulm", "Bonn"] * 50)
    frame.to_parquet(tmp_path / "a.parquet")
    csv = load(dataset(tmp_path / "a.csv", frame))
    assert fingerprint(csv) == fingerprint(load(dataset(tmp_path / "a.parquet")))
    changed = csv.copy()
    changed.loc[7, "city"] = "Bern"
    assert fingerprint(changed) != fingerprint(csv)


def test_text_labels_become_classes_and_the_positive_one_can_be_named(tmp_path: Path) -> None:
    """yes/no is a binary target; `positive` turns it around."""
    frame = table(left=["no", "no", "no", "yes"] * 25)
    assert load(dataset(tmp_path / "a.csv", frame))["left"].mean() == 0.25
    assert load(dataset(tmp_path / "a.csv", positive="no"))["left"].mean() == 0.75


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Excel writes one; it must not become a part of the first column's name."""
    path = tmp_path / "a.csv"
    path.write_text(table().to_csv(index=False), encoding="utf-8-sig")
    assert list(load(dataset(path)).columns) == ["age", "left"]


BAD: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "target not a column": (table(), {"target": "gone"}, "'gone' is not a column; columns: age, left"),
    "one class": (table(left=1), {}, "one class only: every row is 1"),
    "one class by threshold": (table(), {"threshold": 99.0}, "one class only: every row is class 0"),
    "constant number": (table(left=3.5), {"task": "regression"}, "is constant: every row is 3.5"),
    "constant column": (table(unit="mg"), {}, "column 'unit' is constant: every row is mg"),
    "all-missing column": (table(gap=np.nan), {}, "column 'gap' has no value in any row"),
    "too few rows": (table(rows=20), {}, "has 20 usable rows; at least 50"),
    "rare class": (table(left=[1] * 3 + [0] * 97), {}, "the smaller class has 3 rows; at least 10"),
    "three classes": (table(left=["a", "b", "c", "a"] * 25), {}, r"has 3 classes \(a, b, c\); two are supported"),
    "unknown positive": (table(), {"positive": "yes"}, "positive class 'yes' is not among its labels: 0, 1"),
    "slice not a column": (table(), {"slices": ("sex",)}, "slices names sex, not a column"),
    "ignored not a column": (table(), {"ignore": ("id",)}, "ignore names id, not a column"),
    "declared column missing": (
        table(),
        {"columns": {"bmi": "number"}},
        "broken schema: declared column bmi is missing",
    ),
    "no feature left": (table(), {"ignore": ("age",)}, "no column is left to predict 'left' from"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_columns_are_one_line(tmp_path: Path, case: str) -> None:
    """What is wrong with a column or the target is said with the file's name, in one line."""
    frame, choices, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        load(dataset(tmp_path / "a.csv", frame, **choices))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.csv") in str(caught.value)


FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("a.csv", None, "no such file"),
    "suffix": ("a.xlsx", b"PK", r"unsupported suffix '.xlsx'; allowed: .csv, .parquet"),
    "empty": ("a.csv", b"", "the file is empty"),
    "header only": ("a.csv", b"age,left\n", "the file has no rows"),
    "latin-1": ("a.csv", "city,left\nKöln,1\n".encode("latin-1"), "not UTF-8 .byte 0xf6"),
    "ragged": ("a.csv", b"a,b\n1,2\n1,2,3,4\n", "not a csv file: .*Expected 2 fields in line 3, saw 4"),
    "not parquet": ("a.parquet", b"age,left\n1,2\n", "not a parquet file"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_one_line(tmp_path: Path, case: str) -> None:
    """A file that cannot be read is refused with its path and the reason, without a traceback's worth of text."""
    name, content, message = FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(dataset(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_the_digest_of_a_missing_file_is_the_users_error(tmp_path: Path) -> None:
    """The cache key is taken before the file is read."""
    with pytest.raises(DataError, match="No such file"):
        source_digest(dataset(tmp_path / "a.csv"))


@pytest.mark.parametrize("index", [["row"] * 100, [f"r{at}" for at in range(100)], [7] * 100])
def test_the_index_of_a_parquet_file_quarantines_no_good_row(index: list[Any], tmp_path: Path) -> None:
    """Doubles or text in the index, as a filtered or joined frame has: only the broken row is taken out."""
    frame = table()
    frame.loc[3, "left"] = np.nan
    frame.set_axis(index).to_parquet(tmp_path / "a.parquet")
    wanted = dataset(tmp_path / "a.parquet")
    usable, broken, report = validate(load(wanted), wanted)
    assert (len(usable), len(broken), report.reasons) == (99, 1, {"left: missing": 1})
    assert usable["age"].tolist() == frame["age"].drop(3).tolist()
