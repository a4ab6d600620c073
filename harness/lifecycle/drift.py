"""Drift: compare a window of traffic with the held-out reference, by Evidently, at a stated false-alarm rate.

The rule. Each column gives one p-value that is valid when window and reference are exchangeable (the same population):
numbers by the two-sample Kolmogorov-Smirnov test; categories, and numbers with few distinct values, by Fisher's exact
test of each level (Bonferroni over the levels); missing values by Fisher's exact test of "is missing". A column drifted
if its p-value is at most `false_alarm / tests`; the window drifted if any column did. By the union bound an unshifted
window raises an alarm with probability at most `false_alarm` (1e-3), however the columns depend on each other.

The rule needs distinct rows: a row that is replayed twice counts as evidence twice. It also needs predictions of rows
that the model was not fitted on, in the reference as in the window: a model answers its own training rows differently.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle._comparison import KS, LEVELS, Comparison, DriftPolicy, levels_p_value, rows_needed, threshold
from harness.report.record import DriftColumn, DriftRecord
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd
    from evidently import Report

__all__ = ["PREDICTION", "PRELOAD", "DriftPolicy", "detect", "main", "rows_needed"]

PREDICTION = "prediction"
"""The column of served predictions, in a reference as in a window."""

PRELOAD = ("pandas", "pyarrow.parquet", "scipy.stats", "evidently", "evidently.presets")
"""Modules worth importing before the job arrives: `import evidently` imports all of itself, no submodule is lighter."""

_METHODS = {KS: "Kolmogorov-Smirnov p-value", LEVELS: "Fisher exact p-value by level"}


def detect(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    *,
    window_name: str,
    expected: bool | None = None,
    policy: DriftPolicy | None = None,
    html: Path | None = None,
) -> DriftRecord:
    """Compare `window` with `reference` on the reference's columns (name the served prediction among them).

    Columns that only the window has are ignored; values that only the window has are a shift like any other.
    `html`: where Evidently's full page goes (4 MB); the record holds its file name. Errors: DataError if a column is
    missing or of another kind, or if there are too few rows to judge.
    """
    policy = policy or DriftPolicy()
    pair = Comparison.of(reference, window, window_name, policy)
    limit = threshold(len(pair.methods), policy)
    columns = _evidently(pair, limit, html)
    drifted = sum(column.drifted for column in columns)
    return DriftRecord(
        window=window_name,
        rows=len(pair.window),
        reference_rows=len(pair.reference),
        drifted=drifted > 0,
        expected=expected,
        share_drifted=drifted / len(columns),
        share_threshold=1.0 / len(columns),
        columns=sorted(columns, key=lambda column: (column.score, column.column)),
        html=html.name if html else "",
    )


def _evidently(pair: Comparison, limit: float, html: Path | None) -> list[DriftColumn]:
    from evidently import DataDefinition, Dataset

    numeric = [column for column, method in pair.methods.items() if method == KS]
    labels = [column for column, method in pair.methods.items() if method == LEVELS]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=labels)
    snapshot = _report(pair, limit).run(
        Dataset.from_pandas(pair.window, data_definition=definition),
        Dataset.from_pandas(pair.reference, data_definition=definition),
    )
    if html:
        beside = html.with_name(f".{html.name}.tmp")
        snapshot.save_html(str(beside))
        beside.replace(html)
    return _columns(snapshot.dict())


def _report(pair: Comparison, limit: float) -> Report:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    _register_levels()
    preset = DataDriftPreset(
        columns=list(pair.methods),
        drift_share=1.0 / len(pair.methods),
        per_column_method=dict(pair.methods),
        per_column_threshold=dict.fromkeys(pair.methods, limit),
    )
    return Report([preset], include_tests=True)


def _register_levels() -> None:
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def judge(old: pd.Series, new: pd.Series, _: ColumnType, limit: float) -> tuple[float, bool]:
        p_value = levels_p_value(old, new)
        return p_value, p_value <= limit

    kind = StatTest(name=LEVELS, display_name=_METHODS[LEVELS], allowed_feature_types=[ColumnType.Categorical])
    register_stattest(kind, judge)


def _columns(told: Mapping[str, Any]) -> list[DriftColumn]:
    """Evidently's own verdict for each column, from its tests: the direction of a score depends on its method."""
    failed = {test["metric_config"]["metric_id"]: test["status"].value == "FAIL" for test in told["tests"]}
    columns = []
    for metric in told["metrics"]:
        config = metric["config"]
        if config["type"].endswith("ValueDrift"):
            columns.append(
                DriftColumn(
                    column=config["column"],
                    method=_METHODS[config["method"]],
                    score=float(metric["value"]),
                    threshold=float(config["threshold"]),
                    drifted=failed[metric["id"]],
                )
            )
    return columns


def main(spec_json: str, result_path: str) -> None:
    """Job: compare windows of traffic with a reference.

    Spec: {"reference": parquet, "windows": [{"name", "path": parquet} or {"name", "columns", "rows", "predictions"?},
    each with "expected"? and "html"?: where Evidently's page goes], "run_folder"?: what the record's paths are relative
    to, "policy"?: fields of DriftPolicy}. Answer: {"drift": [DriftRecord, ...]} in the order of the windows.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    answer(result_path, lambda: {"drift": [record.model_dump() for record in _judge(json.loads(spec_json))]})


def _judge(spec: Mapping[str, Any]) -> list[DriftRecord]:
    reference = _read(spec["reference"])
    policy = DriftPolicy(**spec.get("policy", {}))
    return [_judge_window(reference, window, policy, spec.get("run_folder")) for window in spec["windows"]]


def _judge_window(
    reference: pd.DataFrame, window: Mapping[str, Any], policy: DriftPolicy, run_folder: str | None
) -> DriftRecord:
    html = Path(window["html"]) if window.get("html") else None
    record = detect(
        reference,
        _frame(window),
        window_name=window["name"],
        expected=window.get("expected"),
        policy=policy,
        html=html,
    )
    if html and run_folder:
        record.html = html.relative_to(run_folder).as_posix()
    return record


def _frame(window: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if "path" in window:
        return _read(window["path"])
    frame = pd.DataFrame(window["rows"], columns=window["columns"])
    return frame.assign(**{PREDICTION: window["predictions"]}) if "predictions" in window else frame


def _read(path: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"Drift cannot read {path}: {error}.", hint="It must be a Parquet file that is completely written."
        ) from error
