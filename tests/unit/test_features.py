"""One fitted transformer, the same in training and in serving."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.lifecycle import model
from harness.lifecycle.features import Features, split

FRAME = pd.DataFrame(
    {"age": [20.0, 40.0, np.nan, 60.0], "city": ["Ulm", "Bonn", "Ulm", None], "bmi": [20.0, 22.0, 24.0, 26.0]}
)
KINDS = {"age": "number", "city": "text", "bmi": "number"}


def test_numbers_are_standardised_gaps_filled_and_text_is_one_hot() -> None:
    """Median for the gap, an indicator for the column that had one, a column for each value of a text."""
    fitted = Features(kinds=KINDS).fit(FRAME)
    assert fitted.names_ == ["age", "bmi", "age_missing", "city=Bonn", "city=Ulm"]
    made = np.asarray(fitted.transform(FRAME))
    assert made.shape == (4, 5)
    assert made[2].tolist() == pytest.approx([0.0, 0.4472136, 1.0, 0.0, 1.0])
    assert made[:, 1].mean() == pytest.approx(0.0)
    assert made[3, 3:].tolist() == [0.0, 0.0]


def test_a_column_that_is_empty_in_the_training_rows_is_a_constant() -> None:
    """Its values are all in the held-out rows: nothing can be learned from it, and nothing fails at it."""
    empty = FRAME.assign(bmi=np.nan)
    fitted = Features(kinds=KINDS).fit(empty)
    made = np.asarray(fitted.transform(empty), dtype=float)
    assert np.isfinite(made).all()
    assert np.isfinite(np.asarray(fitted.transform(FRAME), dtype=float)).all()


def test_rows_without_names_give_the_same_numbers_as_a_frame() -> None:
    """A server may hand over lists in signature order, or a frame whose columns are in another order."""
    fitted = Features(kinds=KINDS).fit(FRAME)
    by_name = fitted.transform(FRAME[["bmi", "city", "age"]])
    by_place = fitted.transform([list(row) for row in FRAME.itertuples(index=False)])
    assert np.array_equal(by_name, by_place)


def test_an_unknown_category_is_no_error() -> None:
    """Production sends what training never saw."""
    made = Features(kinds=KINDS).fit(FRAME).transform([[30.0, "Atlantis", 22.0]])
    assert np.asarray(made)[0, 3:].tolist() == [0.0, 0.0]


def test_a_wrong_width_and_a_missing_column_are_named() -> None:
    """The reason reaches the client of the served model."""
    fitted = Features(kinds=KINDS).fit(FRAME)
    with pytest.raises(ValueError, match=r"expected rows of 3 values \(age, city, bmi\), got shape \(1, 2\)"):
        fitted.transform([[1.0, "Ulm"]])
    with pytest.raises(ValueError, match="missing column bmi; expected age, city, bmi"):
        fitted.transform(FRAME[["age", "city"]])


def test_the_split_is_the_same_for_one_seed_and_keeps_the_share_of_positives() -> None:
    """Held-out rows must be the same for every candidate that is compared on them."""
    frame = pd.DataFrame({"x": range(400), "y": [1] * 80 + [0] * 320})
    train, held_out = split(frame, "y", stratify=True, seed=7)
    again = split(frame, "y", stratify=True, seed=7)[1]
    assert (len(train), len(held_out)) == (300, 100)
    assert held_out.equals(again)
    assert held_out["y"].mean() == pytest.approx(0.2)
    assert not set(train["x"]) & set(held_out["x"])


def test_a_pickled_transformer_loads_where_rehearsal_is_not_installed(tmp_path: Path) -> None:
    """A replica on another machine has scikit-learn, but not this package."""
    path = tmp_path / "features.pkl"
    fitted = Features(kinds=KINDS).fit(FRAME)
    model.dump(fitted, path)
    code = (
        "import pickle, sys\n"
        "class Block:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] == 'harness': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "print(pickle.load(open(sys.argv[1], 'rb')).transform([[20.0, 'Ulm', 20.0]]).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(np.asarray(pickle.loads(path.read_bytes()).transform(FRAME[:1])).tolist())
