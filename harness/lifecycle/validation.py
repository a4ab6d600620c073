"""Validation: a broken row is quarantined with its reason, a broken schema stops the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle.dataset import MAX_BROKEN, Dataset, Kind, check_target, feature_columns

if TYPE_CHECKING:
    import pandas as pd

NUMBER_SHARE = 0.9
"""A text column whose known values are numbers to this share is a number column with broken rows."""


@dataclass(frozen=True)
class ValidationReport:
    """What validation found; `reasons` counts rows, a row with two reasons counts under both."""

    rows: int
    quarantined: int
    reasons: dict[str, int]
    kinds: dict[str, Kind]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def validate(frame: pd.DataFrame, dataset: Dataset) -> tuple[pd.DataFrame, pd.DataFrame, ValidationReport]:
    """Splits rows into usable ones (numbers as float64, text as str) and broken ones (with a `quarantine_reason`
    column).

    Raises DataError for a broken schema: a declared column of another kind, a column of an unusable type, too many
    broken rows, or a target from which nothing is left to learn.
    """
    kinds = column_kinds(frame, dataset)
    reasons = _reasons(frame, dataset, kinds)
    bad = reasons.notna()
    report = ValidationReport(len(frame), int(bad.sum()), _counted(reasons[bad]), kinds)
    if report.quarantined > MAX_BROKEN * len(frame):
        worst = max(report.reasons, key=lambda reason: report.reasons[reason])
        raise DataError(
            f"{dataset.source}: {report.quarantined} of {len(frame)} rows are broken, more than {MAX_BROKEN:.0%}; "
            f"most often: {worst}",
            hint="mend the file, or declare the column's kind and range as they are.",
        )
    usable = _typed(frame[~bad], dataset, kinds)
    check_target(usable[dataset.target], dataset)
    return usable.reset_index(drop=True), frame[bad].astype(str).assign(quarantine_reason=reasons[bad]), report


def column_kinds(frame: pd.DataFrame, dataset: Dataset) -> dict[str, Kind]:
    """Each feature column's kind, declared or inferred; raises DataError when a column is of no usable kind."""
    return {
        name: _kind(frame[name], dataset, dataset.columns.get(name))
        for name in feature_columns(list(frame.columns), dataset)
    }


def _kind(column: pd.Series, dataset: Dataset, declared: Kind | None) -> Kind:
    import pandas as pd

    where = f"{dataset.source}: column {column.name!r}"
    hint = f"convert it, or add {column.name!r} to ignore."
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return declared or "number"
    known = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(column) or known.map(lambda value: isinstance(value, (list, dict))).any():
        raise DataError(f"{where} is of type {column.dtype}; a feature is a number or text", hint=hint)
    share = float(pd.to_numeric(known, errors="coerce").notna().mean()) if len(known) else 0.0
    if declared == "number" and share < 1 - MAX_BROKEN:
        raise DataError(f"{where}: broken schema: declared number, {1 - share:.0%} of its values are not", hint=hint)
    if declared:
        return declared
    if share >= NUMBER_SHARE:
        return "number"
    if known.nunique() == len(known):
        raise DataError(f"{where} is text with another value in every row: an identifier is no feature", hint=hint)
    return "text"


def _reasons(frame: pd.DataFrame, dataset: Dataset, kinds: dict[str, Kind]) -> pd.Series:
    """Each row's reasons joined by "; ", missing for a good row."""
    import pandas as pd
    from pandera.errors import SchemaErrors

    reasons = pd.Series(None, index=frame.index, dtype=object)
    try:
        _schema(dataset, kinds).validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        broken = cases[cases["index"].isna()]
        if len(broken):
            first = broken.iloc[0]
            column = first["column"] or first["failure_case"]
            raise DataError(f"{dataset.source}: broken schema: column {column!r}: {first['check']}") from None
        words = cases["check"].where(cases["check"] != "not_nullable", "missing")
        texts = cases["column"].astype(str) + ": " + words.astype(str)
        joined = texts.groupby(cases["index"].astype("int64")).agg(lambda each: "; ".join(sorted(set(each))))
        reasons.loc[joined.index] = joined
    return reasons


def _schema(dataset: Dataset, kinds: dict[str, Kind]) -> Any:
    import pandera.pandas as pa

    columns = {name: pa.Column(checks=_checks(name, kind, dataset), nullable=True) for name, kind in kinds.items()}
    number = _checks(dataset.target, "number", dataset)
    return pa.DataFrameSchema({**columns, dataset.target: pa.Column(checks=number, nullable=False)})


def _checks(name: str, kind: Kind, dataset: Dataset) -> list[Any]:
    import numpy as np
    import pandas as pd
    import pandera.pandas as pa

    if kind == "text":
        return []

    def numbers(column: pd.Series) -> pd.Series:
        return pd.to_numeric(column, errors="coerce").astype("float64")

    checks = [
        pa.Check(lambda column: numbers(column).notna() | column.isna(), name="number", error="not a number"),
        pa.Check(lambda column: ~np.isinf(numbers(column)), name="finite", error="infinite"),
    ]
    if name in dataset.ranges:
        low, high = dataset.ranges[name]
        checks.append(
            pa.Check(
                lambda column: numbers(column).between(low, high) | numbers(column).isna(),
                name="range",
                error=f"outside {low:g} to {high:g}",
            )
        )
    return checks


def _typed(frame: pd.DataFrame, dataset: Dataset, kinds: dict[str, Kind]) -> pd.DataFrame:
    """Numbers as float64, so that the signature says double and a later missing value is no type error; text as str."""
    import pandas as pd

    typed = frame.copy()
    for name, kind in kinds.items():
        column = typed[name]
        texts = column.astype(str).where(column.notna(), None)
        typed[name] = pd.to_numeric(column).astype("float64") if kind == "number" else texts
    target = pd.to_numeric(typed[dataset.target])
    typed[dataset.target] = target.astype("int64") if dataset.task == "classification" else target.astype("float64")
    return typed


def _counted(reasons: pd.Series) -> dict[str, int]:
    counts = reasons.str.split("; ").explode().value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}
