"""What can be known to be wrong before anything starts: the data file, the condition, the training function."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError, DataError
from harness.lifecycle._comparison import DriftPolicy
from harness.lifecycle.checks import Slice, parse_checks, require_columns
from harness.lifecycle.dataset import Dataset, load
from harness.lifecycle.sampling import AUTOMATIC, matching
from harness.lifecycle.spec import ESTIMATORS
from harness.lifecycle.training import build, deadline, load_entry_point
from harness.lifecycle.validation import column_kinds
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PreflightSpec:
    """What a run was asked to do; `trainings`: "baseline" or "candidate" -> (estimator, keyword arguments); `checks` of
    the candidate as tables.
    """

    dataset: Dataset
    condition: str
    trainings: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    deadline_s: float = 120.0
    source_root: str | None = None
    checks: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> PreflightSpec:
        values = json.loads(text)
        trainings = {name: (estimator, params) for name, (estimator, params) in values["trainings"].items()}
        return cls(**{**values, "dataset": Dataset.from_dict(values["dataset"]), "trainings": trainings})


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): raises the user's first mistake, else answers with the number of rows."""
    answer(result_path, lambda: {"rows": check(PreflightSpec.from_json(spec_json))})


def check(spec: PreflightSpec) -> int:
    """Raises DataError, ConfigError or TrainingFunctionError, one line each; returns the rows of the data file."""
    frame = load(spec.dataset)
    column_kinds(frame, spec.dataset)
    if spec.condition != AUTOMATIC:
        check_condition(frame, spec.condition, spec.dataset.source)
    for each in parse_checks({"check": list(spec.checks)}, "checks", Path()) if spec.checks else ():
        require_columns([each], list(frame.columns))
        if isinstance(each, Slice) and each.where:
            matching(frame, each.where)
    for name, (estimator, params) in spec.trainings.items():
        check_training(name, estimator, params, spec)
    return len(frame)


def check_condition(frame: pd.DataFrame, condition: str, source: str) -> None:
    """Raises DataError for a condition that no row or nearly every row matches: neither makes a shifted window."""
    share = len(matching(frame, condition)) / len(frame)
    most = 1 - DriftPolicy().detectable
    if not share:
        raise DataError(f"{source}: drift = {condition!r} matches none of the {len(frame)} rows")
    if share > most:
        raise DataError(
            f"{source}: drift = {condition!r} matches {share:.0%} of the rows, which is no shift",
            hint=f"choose a condition that at most {most:.0%} of the rows match.",
        )


def check_training(name: str, estimator: str, params: Mapping[str, Any], spec: PreflightSpec) -> None:
    """Raises ConfigError or TrainingFunctionError if the function is not there or does not take these arguments."""
    if estimator in ESTIMATORS:
        if params:
            build(estimator, spec.dataset.task, params, seed=0)
        return
    with deadline(spec.deadline_s, f"importing {estimator.partition(':')[0]}"):
        function = load_entry_point(estimator, spec.source_root)
    if problem := misfit(function, params):
        raise ConfigError(f"[train] {name}: {estimator} {problem}")


def misfit(function: Callable[..., Any], params: Mapping[str, Any]) -> str:
    """Why a function cannot be called with features, target and these keyword arguments; empty if it can."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of an extension module may not tell
        return ""
    try:
        signature.bind(None, None, **params)
    except TypeError as error:
        return f"takes {signature}: {error}"
    return ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
