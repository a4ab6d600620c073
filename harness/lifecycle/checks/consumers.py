"""Signature compatibility: whether a version takes what the live service's clients really send. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from harness.lifecycle.checks._judging import EXAMPLES, require_count
from harness.lifecycle.signature import Column, fits
from harness.report.record import CheckResult

JSON_KINDS: dict[str, Any] = {"null": None, "integer": 1, "number": 1.5, "text": "text", "boolean": True, "other": []}
"""The types that a value of a request may have, each with an example of it."""


@dataclass(frozen=True)
class Asked:
    """One shape of requests: how many there were, and which types each column's values had.

    form: "named" says its columns; "in order" only has as many values a row as `columns`, which are then numbers.
    """

    form: Literal["named", "in order"]
    columns: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]
    requests: int = 1


@dataclass(frozen=True)
class Consumers:
    """The version's MLflow signature accepts the requests that the live service has in its prediction log.

    Judged against the columns that are missing, that are too many, and whose values are of another type; clients that
    send values in order, without names, also need the order that the live version has.
    requests: how many logged requests there must be, for the check to say anything.
    """

    kind: ClassVar[str] = "consumers"
    served: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()

    requests: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        require_count("consumers.requests", self.requests)

    @property
    def label(self) -> str:
        return self.name or "accepts what live clients send"

    def judge(self, observed: Sequence[Asked], columns: Sequence[Column], live: Sequence[str] = ()) -> CheckResult:
        """Whether the version's `columns` take every shape; `live` are the columns of the version that serves now."""
        counted = sum(shape.requests for shape in observed)
        problems = [(shape, _problems(shape, columns, live)) for shape in observed]
        bad = sum(shape.requests for shape, found in problems if found)
        words = dict.fromkeys(word for _, found in problems for word in found)
        enough = counted >= self.requests
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=bad == 0 if enough else None,
            observed=f"{counted - bad:,} of {counted:,} logged requests would be accepted",
            required="all",
            detail="; ".join(words) if enough else f"at least {self.requests:,} logged requests are needed",
            rows=counted,
            bad=bad,
            examples=[_example(shape, found) for shape, found in problems if found][:EXAMPLES],
        )


def _problems(shape: Asked, columns: Sequence[Column], live: Sequence[str]) -> list[str]:
    """Why the columns do not take this shape of request."""
    if shape.form == "in order":
        if len(shape.columns) != len(columns):
            return [f"{len(shape.columns)} values a row, the version takes {len(columns)}"]
        ours = [column.name for column in columns]
        if live and (moved := next((pair for pair in zip(ours, live, strict=False) if pair[0] != pair[1]), None)):
            return [f"values without names come in another order: {moved[0]} where {moved[1]} was"]
        return _retyped(columns, shape.kinds)
    sent = dict(zip(shape.columns, shape.kinds, strict=True))
    known = [column for column in columns if column.name in sent]
    found = [f"column {column.name} is missing" for column in columns if column.name not in sent]
    found += [f"column {name} is extra" for name in sent if name not in {column.name for column in columns}]
    return found + _retyped(known, [sent[column.name] for column in known])


def _example(shape: Asked, problems: Sequence[str]) -> str:
    return f"{shape.requests:,} requests {shape.form}: {'; '.join(problems)}"


def _retyped(columns: Sequence[Column], kinds: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"column {column.name} is {column.kind}, clients send {kind}"
        for column, found in zip(columns, kinds, strict=True)
        for kind in found
        if not fits(column.kind, JSON_KINDS[kind])
    ]
