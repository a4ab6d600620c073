"""Requests as model input: V1 and V2 payloads checked against the model's columns, numeric ones without a DataFrame.

Heavy on purpose (numpy, pandas): imported by model servers and their nursery, never by the platform's own process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.lifecycle.signature import FLOATS, INTEGERS, Column, fits

_WORDS = {float: "a number", int: "an integer", bool: "a boolean", str: "a string", type(None): "null"}


class BadRequest(ValueError):
    """The client's input does not fit the model; the message names the columns."""


@dataclass(frozen=True)
class Columns:
    """The model's input columns in the signature's order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def numeric(self) -> bool:
        """Whether every column is a number, so that rows can be one float64 array."""
        return all(column.kind in FLOATS | INTEGERS for column in self.columns)

    @property
    def plain(self) -> bool:
        """Whether JSON's values are the model's: numbers, texts and booleans, nothing to be parsed such as a time."""
        return all(column.kind in FLOATS | INTEGERS | {"string", "boolean"} for column in self.columns)

    def from_instances(self, instances: Any) -> np.ndarray | pd.DataFrame:
        """V1 instances, each a list in column order or a mapping by name: [n, k] float64 or objects, or a DataFrame."""
        if not isinstance(instances, list) or not instances:
            raise BadRequest('"instances": expected a list of at least one row')
        rows = [self._row(row, index) for index, row in enumerate(instances)]
        return self._input(rows)

    def from_matrix(self, values: Sequence[Any], shape: Sequence[int]) -> np.ndarray | pd.DataFrame:
        """One V2 tensor of shape [n, k], its values row by row."""
        if len(shape) != 2 or shape[1] != len(self.columns):
            raise BadRequest(f"expected shape [n, {len(self.columns)}] for {self._listed()}, got {list(shape)}")
        wide = len(self.columns)
        return self._input([list(values[start : start + wide]) for start in range(0, len(values), wide)])

    def from_tensors(self, tensors: Mapping[str, Sequence[Any]]) -> np.ndarray | pd.DataFrame:
        """One V2 tensor of shape [n] for each column, by name."""
        self._check_names(tensors.keys(), "inputs")
        lengths = {name: len(values) for name, values in tensors.items()}
        if len(set(lengths.values())) != 1:
            raise BadRequest(f"inputs: tensors of different lengths: {lengths}")
        return self._input([list(row) for row in zip(*(tensors[name] for name in self.names), strict=True)])

    def _row(self, row: Any, index: int) -> list[Any]:
        if isinstance(row, dict):
            self._check_names(row.keys(), f"instances[{index}]")
            return [row[name] for name in self.names]
        if not isinstance(row, list):
            raise BadRequest(f"instances[{index}]: expected a list of {self._listed()}, or an object with these names")
        if len(row) != len(self.columns):
            raise BadRequest(f"instances[{index}]: expected {self._listed()}, got {len(row)} values")
        return row

    def _check_names(self, given: Any, where: str) -> None:
        known = set(self.names)
        missing = [name for name in self.names if name not in given]
        unknown = [name for name in given if name not in known]
        if missing or unknown:
            words = [f"missing: {', '.join(missing)}"] if missing else []
            words += [f"unknown: {', '.join(map(str, unknown))}"] if unknown else []
            raise BadRequest(f"{where}: columns {'; '.join(words)} (the model's columns: {', '.join(self.names)})")

    def _input(self, rows: list[list[Any]]) -> np.ndarray | pd.DataFrame:
        if self.numeric and (matrix := self._matrix(rows)) is not None:
            return matrix
        for row, values in enumerate(rows):
            for column, value in zip(self.columns, values, strict=True):
                _check_value(column, value, row)
        return self.objects(rows) if self.plain else self.frame(rows)

    def _matrix(self, rows: list[list[Any]]) -> np.ndarray | None:
        """The rows as float64 if they hold nothing but fitting numbers; None sends them to the careful path."""
        try:
            matrix = np.array(rows)
        except ValueError:
            return None
        if matrix.dtype.kind not in "if" or matrix.ndim != 2:
            return None
        if matrix.dtype.kind == "f" and not self._integral(matrix):
            return None
        return matrix.astype(np.float64, copy=False)

    def _integral(self, matrix: np.ndarray) -> bool:
        whole = [index for index, column in enumerate(self.columns) if column.kind in INTEGERS]
        return bool(np.equal(np.mod(matrix[:, whole], 1), 0).all()) if whole else True

    def frame(self, rows: Sequence[Sequence[Any]] | np.ndarray) -> pd.DataFrame:
        """The rows as a DataFrame with the signature's types."""
        frame = pd.DataFrame(list(rows), columns=self.names)
        return frame.astype({column.name: _dtype(column) for column in self.columns})

    def objects(self, rows: Sequence[Sequence[Any]] | np.ndarray) -> np.ndarray:
        """The rows as they are, in an array [n, k]: a DataFrame of 30 columns of two types costs milliseconds a row."""
        table = np.empty((len(rows), len(self.columns)), dtype=object)
        table[:] = rows
        return table

    def _listed(self) -> str:
        return f"{len(self.columns)} values ({', '.join(self.names)})"


def _dtype(column: Column) -> str:
    if column.kind in INTEGERS:
        return {"integer": "int32", "long": "int64"}[column.kind]
    return {"double": "float64", "float": "float32", "boolean": "bool", "datetime": "datetime64[ns]"}.get(
        column.kind, "object"
    )


def _check_value(column: Column, value: Any, row: int) -> None:
    if not fits(column.kind, value):
        got = _WORDS.get(type(value), type(value).__name__)
        raise BadRequest(f"row {row}, column {column.name!r}: expected {_expected(column.kind)}, got {got} ({value!r})")


def _expected(kind: str) -> str:
    return {"boolean": "a boolean", "string": "a string"}.get(
        kind, "an integer" if kind in INTEGERS else "a number" if kind in FLOATS else f"a string ({kind})"
    )
