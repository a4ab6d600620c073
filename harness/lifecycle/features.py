"""Feature engineering: one fitted transformer that travels with the model, so that training and serving cannot skew.

Heavy: imports pandas and scikit-learn. The transformer is pickled by value, so a server that loads the model needs
neither this package nor the user's repository. It is written on numpy because a ColumnTransformer costs milliseconds
for a single row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from harness.lifecycle.dataset import HELD_OUT

MAX_CATEGORIES = 20
Matrix = npt.NDArray[np.float64]
Rows = pd.DataFrame | npt.NDArray[Any] | Sequence[Sequence[Any]]


class Features(BaseEstimator):
    """Numbers: median for missing, standardised, an indicator if training had gaps. Text: one-hot, unknown is zeros.

    Takes a DataFrame with the columns by name, or rows with the values in `feature_names_in_`'s order.
    Gives float64 [n, len(names_)], as a DataFrame if `as_frame`.
    """

    def __init__(self, kinds: dict[str, str] | None = None, as_frame: bool = False) -> None:
        self.kinds = kinds
        self.as_frame = as_frame

    def fit(self, rows: pd.DataFrame, target: Any = None) -> Features:
        kinds = self.kinds or dict.fromkeys(rows.columns, "number")
        self.feature_names_in_ = list(kinds)
        self.n_features_in_ = len(kinds)
        self.numbers_ = [at for at, kind in enumerate(kinds.values()) if kind == "number"]
        self.texts_ = [at for at, kind in enumerate(kinds.values()) if kind == "text"]
        matrix, texts = self._split(rows)
        missing = np.isnan(matrix)
        self.medians_ = np.array([_median(column[~np.isnan(column)]) for column in matrix.T])
        filled = np.where(missing, self.medians_, matrix)
        self.means_ = filled.mean(axis=0)
        deviations = filled.std(axis=0)
        self.scales_ = np.where(deviations > 0, deviations, 1.0)
        self.gaps_ = np.flatnonzero(missing.any(axis=0))
        self.categories_ = [_frequent(column) for column in texts]
        self.names_ = self._names()
        return self

    def transform(self, rows: Rows) -> Matrix | pd.DataFrame:
        matrix, texts = self._split(rows)
        missing = np.isnan(matrix)
        if missing.any():
            matrix = np.where(missing, self.medians_, matrix)
        blocks = [(matrix - self.means_) / self.scales_]
        if self.gaps_.size:
            blocks.append(missing[:, self.gaps_].astype(np.float64))
        blocks.extend(_one_hot(column, known) for column, known in zip(texts, self.categories_, strict=True))
        joined = blocks[0] if len(blocks) == 1 else np.hstack(blocks)
        return pd.DataFrame(joined, columns=self.names_) if self.as_frame else joined

    def fit_transform(self, rows: pd.DataFrame, target: Any = None) -> Matrix | pd.DataFrame:
        return self.fit(rows, target).transform(rows)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        return np.asarray(self.names_, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "names_")

    def _split(self, rows: Rows) -> tuple[Matrix, list[npt.NDArray[np.object_]]]:
        """The number columns as one matrix, and each text column."""
        if isinstance(rows, pd.DataFrame):
            rows = self._ordered(rows)
        if not self.texts_:
            matrix = np.asarray(rows, dtype=np.float64)
            self._check_width(matrix)
            return matrix, []
        table = np.asarray(rows, dtype=object)
        self._check_width(table)
        return table[:, self.numbers_].astype(np.float64), [table[:, at] for at in self.texts_]

    def _ordered(self, rows: pd.DataFrame) -> npt.NDArray[Any]:
        names = self.feature_names_in_
        if list(rows.columns) != names:
            if missing := [name for name in names if name not in rows.columns]:
                raise ValueError(f"missing column {', '.join(missing)}; expected {', '.join(names)}")
            rows = rows[names]
        return rows.to_numpy(dtype=object if self.texts_ else np.float64, na_value=np.nan)

    def _check_width(self, table: npt.NDArray[Any]) -> None:
        if table.ndim != 2 or table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"expected rows of {self.n_features_in_} values ({', '.join(self.feature_names_in_)}), "
                f"got shape {table.shape}"
            )

    def _names(self) -> list[str]:
        names = self.feature_names_in_
        numbers = [names[at] for at in self.numbers_]
        gaps = [f"{numbers[at]}_missing" for at in self.gaps_]
        hot = [
            f"{names[at]}={value}" for at, known in zip(self.texts_, self.categories_, strict=True) for value in known
        ]
        return numbers + gaps + hot


class RawColumns(BaseEstimator):
    """No engineering: the raw columns as a DataFrame, in training's order; for a user's own pipeline."""

    def __init__(self, kinds: dict[str, str] | None = None) -> None:
        self.kinds = kinds

    def fit(self, rows: pd.DataFrame, target: Any = None) -> RawColumns:
        self.feature_names_in_ = list(self.kinds or rows.columns)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, rows: Rows) -> pd.DataFrame:
        if isinstance(rows, pd.DataFrame):
            return rows[self.feature_names_in_]
        frame = pd.DataFrame(rows, columns=self.feature_names_in_)
        kinds = self.kinds or {}
        return frame.astype({name: "float64" for name, kind in kinds.items() if kind == "number"})

    def fit_transform(self, rows: pd.DataFrame, target: Any = None) -> pd.DataFrame:
        return self.fit(rows, target).transform(rows)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "feature_names_in_")


def split(
    frame: pd.DataFrame, target: str, *, stratify: bool, seed: int, share: float = HELD_OUT
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, and a `share` of rows held out; the same rows for the same seed and data."""
    from sklearn.model_selection import train_test_split

    classes = frame[target] if stratify else None
    train, held_out = train_test_split(frame, test_size=share, random_state=seed, stratify=classes)
    return train.reset_index(drop=True), held_out.reset_index(drop=True)


def _median(known: npt.NDArray[np.float64]) -> float:
    """0 for a column that is known only in the held-out rows: what is missing everywhere says nothing."""
    return float(np.median(known)) if known.size else 0.0


def _frequent(column: npt.NDArray[np.object_]) -> list[str]:
    counts = pd.Series(column).dropna().value_counts()
    return sorted(str(value) for value in counts.index[:MAX_CATEGORIES])


def _one_hot(column: npt.NDArray[np.object_], known: list[str]) -> Matrix:
    return np.asarray(column.reshape(-1, 1) == np.asarray(known, dtype=object), dtype=np.float64)
