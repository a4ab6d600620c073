"""V1 and V2 requests as rows, column by column. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from harness.lifecycle.checks.consumers import Asked

Row = Sequence[Any]


def features_of(body: str | bytes) -> list[str]:
    """The columns of a request in its own words, x0, x1, … if it has none; empty if it is no inference request."""
    try:
        told = json.loads(body)
        if "instances" in told:
            row = told["instances"][0]
            return list(row) if isinstance(row, dict) else [f"x{index}" for index in range(len(row))]
        inputs = told["inputs"]
        if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
            return [f"x{index}" for index in range(inputs[0]["shape"][1])]
        return [str(tensor["name"]) for tensor in inputs]
    except (ValueError, TypeError, LookupError, AttributeError):
        return []


def rows_of(body: str | bytes, features: Sequence[str]) -> list[Row] | None:
    """A request's rows in the order of `features`; None if it is no inference request of these columns."""
    try:
        told = json.loads(body)
        rows = _v1(told["instances"], features) if "instances" in told else _v2(told["inputs"], features)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return rows if all(len(row) == len(features) for row in rows) else None


def shape_of(body: str | bytes) -> Asked | None:
    """A request's form, its columns and the types that their values have; None if it is no inference request."""
    try:
        told = json.loads(body)
        return _shape_v1(told["instances"]) if "instances" in told else _shape_v2(told["inputs"])
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _shape_v1(instances: Sequence[Any]) -> Asked:
    first = instances[0]
    if isinstance(first, dict):
        names = list(dict.fromkeys(name for row in instances for name in row))
        return _asked("named", names, [[row[name] for row in instances if name in row] for name in names])
    return _asked("in order", _numbered(len(first)), [list(column) for column in zip(*instances, strict=True)])


def _shape_v2(inputs: Sequence[dict[str, Any]]) -> Asked:
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        names = _numbered(inputs[0]["shape"][1])
        return _asked("in order", names, [list(column) for column in zip(*_v2(inputs, names), strict=True)])
    return _asked("named", [tensor["name"] for tensor in inputs], [tensor["data"] for tensor in inputs])


def _numbered(count: int) -> list[str]:
    return [str(at) for at in range(count)]


def _asked(form: Literal["named", "in order"], names: Sequence[str], columns: Sequence[Sequence[Any]]) -> Asked:
    kinds = (tuple(sorted({_json_kind(value) for value in column})) for column in columns)
    return Asked(form, tuple(map(str, names)), tuple(kinds))


def _json_kind(value: Any) -> str:
    """One of JSON_KINDS; a whole number is an integer however it is written."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return {type(None): "null", int: "integer", str: "text"}.get(type(value), "other")


def _v1(instances: Sequence[Any], features: Sequence[str]) -> list[Row]:
    """Each row a list in column order, or a mapping by name."""
    return [[row[name] for name in features] if isinstance(row, dict) else row for row in instances]


def _v2(inputs: Sequence[dict[str, Any]], features: Sequence[str]) -> list[Row]:
    """A tensor for each column, or one matrix, its values row by row or nested."""
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        wide, data = inputs[0]["shape"][1], inputs[0]["data"]
        return data if data and isinstance(data[0], list) else [data[i : i + wide] for i in range(0, len(data), wide)]
    by_name = {tensor["name"]: tensor["data"] for tensor in inputs}
    return [list(row) for row in zip(*(by_name[name] for name in features), strict=True)]
