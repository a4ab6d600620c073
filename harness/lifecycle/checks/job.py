"""The job of the checks: loads a version once, observes what each check asks of it, and has the check judge.

Heavy: mlflow, pandas. What a check asks of a service is not done here but by harness._model_checks.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import ConfigError, DataError
from harness.lifecycle import evaluation
from harness.lifecycle.checks.behaviour import Case, Direction, Invariance, MinimumFunctionality, Moved
from harness.lifecycle.checks.robustness import Probe, Robustness, probes
from harness.lifecycle.checks.serving import Size
from harness.lifecycle.checks.slices import Labelled, Slice
from harness.lifecycle.checks.table import Check, parse_checks, require_columns
from harness.lifecycle.signature import INTEGERS, Column
from harness.report.record import CheckResult
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd

_ADDED = ("offline_prediction",)
"""Columns of the held-out rows that are not the data's."""


@dataclass(frozen=True)
class Subject:
    """A loaded version, the held-out rows, and how big its files are."""

    model: Any
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    target: str
    task: str
    seed: int
    files: dict[str, int]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def score(self, rows: pd.DataFrame) -> evaluation.Array:
        """What the version answers to rows."""
        return evaluation.predict(self.model, rows[self.names], self.task)

    def sample(self, rows: int) -> pd.DataFrame:
        return self.frame.sample(min(rows, len(self.frame)), random_state=self.seed).reset_index(drop=True)


def main(spec_json: str, result_path: str) -> None:
    """Job. Spec: {"checks": [tables as in TOML], "model_name", "version", "tracking_uri", "heldout": parquet, "target",
    "task", "seed"}. Answer: {"results": [CheckResult], "columns": [[name, kind]] of the signature}.
    """
    answer(result_path, lambda: _run(json.loads(spec_json)))


def _run(spec: Mapping[str, Any]) -> dict[str, Any]:
    checks = parse_checks({"check": spec["checks"]}, "checks", Path()) if spec["checks"] else ()
    subject = load(spec)
    require_columns(checks, [name for name in subject.frame.columns if name not in _ADDED])
    results = [observe(check, subject) for check in checks]
    return {
        "results": [each.model_dump(mode="json") for each in results],
        "columns": [[column.name, column.kind] for column in subject.columns],
    }


def load(spec: Mapping[str, Any]) -> Subject:
    """Fetches the version from MLflow, with the size of what a replica fetches; DataError for rows it cannot answer."""
    import mlflow
    import pandas as pd

    from harness.lifecycle import tracking

    with tempfile.TemporaryDirectory(prefix="rehearsal-checks-") as folder:
        files = tracking.download(spec["tracking_uri"], spec["model_name"], int(spec["version"]), Path(folder))
        model = mlflow.sklearn.load_model(str(files))
        signature = mlflow.models.Model.load(str(files)).signature
        sizes = {str(each.relative_to(files)): each.stat().st_size for each in files.rglob("*") if each.is_file()}
    columns = tuple(Column(column.name, column.type.name) for column in signature.inputs.inputs)
    frame = pd.read_parquet(spec["heldout"])
    if missing := [column.name for column in columns if column.name not in frame.columns]:
        raise DataError(f"version {spec['version']}: the held-out rows lack its column {', '.join(missing)}")
    return Subject(model, columns, frame, spec["target"], spec["task"], int(spec["seed"]), sizes)


def observe(check: Check, subject: Subject) -> CheckResult:
    """Make the observations that a check asks for, and have it judge them."""
    match check:
        case Invariance():
            return check.judge(_changed(check, subject) if check.column in subject.names else None)
        case Direction():
            return check.judge(_raised(check, subject) if check.column in subject.names else None)
        case MinimumFunctionality():
            return check.judge(_answers(check.cases, subject))
        case Slice():
            return check.judge(_labelled(check, subject))
        case Robustness():
            return check.judge(list(_probed(check, subject)), subject.task)
        case Size():
            return check.judge(subject.files)
    raise ConfigError(f"check {check.label!r}: a check of kind {check.kind} asks a service")


def _changed(check: Invariance, subject: Subject) -> list[Moved]:
    rows = subject.sample(check.rows)
    before, own = subject.score(rows), rows[check.column]
    if check.values:
        others = [_constant(value, own, check.label) for value in check.values]
    else:
        others = [own.sample(frac=1, random_state=subject.seed).reset_index(drop=True)]
    return [
        moved
        for values in others
        for moved in _moves(check.column, own, values, before, subject.score(rows.assign(**{check.column: values})))
    ]


def _raised(check: Direction, subject: Subject) -> list[Moved]:
    rows = subject.sample(check.rows)
    if check.to is not None:
        rows = rows[rows[check.column] != check.to].reset_index(drop=True)
    if rows.empty:
        return []
    own = rows[check.column]
    if check.by is not None and own.dtype.kind not in "fiu":
        raise ConfigError(f"check {check.label!r}: by: {check.column} holds {own.dtype}, no numbers")
    raised = own + check.by if check.by is not None else _constant(check.to, own, check.label)
    after = subject.score(rows.assign(**{check.column: raised}))
    return _moves(check.column, own, raised, subject.score(rows), after)


def _constant(value: Any, like: pd.Series, label: str) -> pd.Series:
    """A value in every row; ConfigError for one that the column cannot hold."""
    import pandas as pd

    try:
        return pd.Series([value] * len(like)).astype(like.dtype)
    except (TypeError, ValueError):
        raise ConfigError(f"check {label!r}: {like.name} holds {like.dtype}, got {value!r}") from None


def _moves(
    column: str, own: pd.Series, values: pd.Series, before: evaluation.Array, after: evaluation.Array
) -> list[Moved]:
    return [
        Moved(float(was), float(came), f"{column} {_short(old)} to {_short(new)}")
        for old, new, was, came in zip(own, values, before, after, strict=True)
    ]


def _answers(cases: Sequence[Case], subject: Subject) -> dict[str, float]:
    import pandas as pd

    features = subject.frame[subject.names]
    middle = {name: _middle(features[name]) for name in subject.names}
    rows = pd.DataFrame([{**middle, **{k: v for k, v in case.row.items() if k in middle}} for case in cases])
    try:
        rows = rows.astype(features.dtypes.to_dict())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"cases: a value is of another type than its column: {error}") from None
    return dict(zip((case.name for case in cases), map(float, subject.score(rows)), strict=True))


def _middle(column: pd.Series) -> Any:
    return column.median() if column.dtype.kind in "fiu" else next(iter(column.mode()), None)


def _labelled(check: Slice, subject: Subject) -> dict[str, Labelled]:
    from harness.lifecycle.sampling import matching

    frame = subject.frame.reset_index(drop=True)
    truth, predicted = frame[subject.target].to_numpy(np.float64), subject.score(frame)
    if check.where:
        masks = {check.where: frame.index.isin(matching(frame, check.where).index)}
    else:
        masks = dict(evaluation.groups(frame, [check.by]))
    return {label: Labelled(truth[mask], predicted[mask]) for label, mask in masks.items()}


def _probed(check: Robustness, subject: Subject) -> Iterator[Probe]:
    import pandas as pd

    rows = subject.sample(check.rows)[subject.names]
    table = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    for probe in probes(table, subject.columns):
        frame = pd.DataFrame([probe.row], columns=subject.names)
        yield _asked(probe, frame.astype(_dtypes(subject, frame)), subject)


def _asked(probe: Probe, row: pd.DataFrame, subject: Subject) -> Probe:
    """What came of a probe; a ValueError is what the server makes a 400 of, anything else a 500."""
    try:
        with np.errstate(all="ignore"):
            return replace(probe, answer=float(subject.score(row)[0]))
    except ValueError:
        return replace(probe, refused=True)
    except Exception as error:  # a model may fail in any way: that is what is looked for
        return replace(probe, error=f"{type(error).__name__}: {error}".splitlines()[0])


def _dtypes(subject: Subject, frame: pd.DataFrame) -> dict[str, Any]:
    """The held-out rows' types; a column of whole numbers without a value has none of them."""
    own = subject.frame.dtypes
    return {
        column.name: "float64" if column.kind in INTEGERS and frame[column.name].isna().any() else own[column.name]
        for column in subject.columns
    }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
