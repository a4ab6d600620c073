"""A model's input columns as its MLflow signature names them, and which values fit them. Light: no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FLOATS = {"double", "float"}
INTEGERS = {"integer", "long"}


@dataclass(frozen=True)
class Column:
    """One input column; `kind` is MLflow's data type ("double", "long", "string", "boolean", ...)."""

    name: str
    kind: str


def fits(kind: str, value: Any) -> bool:
    """Whether a value of JSON may stand in a column of this kind."""
    if kind in FLOATS:
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if kind in INTEGERS:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (isinstance(value, float) and value.is_integer())
    if kind == "boolean":
        return isinstance(value, bool)
    return value is None or isinstance(value, str)
