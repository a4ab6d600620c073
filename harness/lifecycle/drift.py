"""Drift: compare a window of traffic with the held-out reference, at a stated false-alarm rate.

The rule. Each column gives one p-value that is valid when window and reference are exchangeable (the same population):
numbers by the two-sample Kolmogorov-Smirnov test; categories, and numbers with few distinct values, by Fisher's exact
test of each level (Bonferroni over the levels); missing values by Fisher's exact test of "is missing". A column drifted
if its p-value is at most its threshold; the window drifted if any column did. Without a calibration (see there) the
threshold is `false_alarm / tests`: by the union bound an unshifted window raises an alarm with probability at most
`false_alarm` (1e-3), however the columns depend on each other. With one, pairs of columns are judged as well, and the
squared errors of predictions that have labels.

The rule needs distinct rows: a row that is replayed twice counts as evidence twice. It also needs predictions of rows
that the model was not fitted on, in the reference as in the window: a model answers its own training rows differently.
Evidently draws the page of a window (harness.lifecycle.drift_page); it decides nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle._comparison import KS, LEVELS, Comparison, DriftPolicy, rows_needed, threshold
from harness.report.record import DriftColumn, DriftRecord
from harness.runtime.job import answer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from harness.lifecycle.calibration import Calibration

__all__ = ["LABEL", "PREDICTION", "PRELOAD", "DriftPolicy", "detect", "judge", "main", "rows_needed"]

PREDICTION, LABEL = "prediction", "label"
"""The columns of served predictions and of the ground truth, in a reference as in a window."""

PRELOAD = ("pandas", "pyarrow.parquet", "scipy.stats", "evidently", "evidently.presets")
"""Modules worth importing before the job arrives: `import evidently` imports all of itself, no submodule is lighter."""

METHODS = {KS: "Kolmogorov-Smirnov p-value", LEVELS: "Fisher exact p-value by level"}
PAIRS_METHOD, QUALITY_METHOD = "rank correlation p-value, worst pair", "Mann-Whitney p-value of squared errors"


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
    record, pair = judge(reference, window, window_name=window_name, policy=policy)
    record.expected = expected
    if html:
        from harness.lifecycle.drift_page import write_page

        write_page(pair, {column.column: column.threshold for column in record.columns}, html)
        record.html = html.name
    return record


def judge(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    *,
    window_name: str,
    policy: DriftPolicy | None = None,
    calibration: Calibration | None = None,
    labelled: pd.DataFrame | None = None,
) -> tuple[DriftRecord, Comparison]:
    """The verdict on a window, and what it compared.

    With a calibration pairs of columns are judged as well, and the quality of the predictions that are `labelled`
    (PREDICTION and LABEL, the newest last): labels come late, so these need not be the window's rows.
    """
    policy = policy or DriftPolicy()
    if calibration is not None:
        policy = replace(policy, false_alarm=calibration.per_look)
    compared = reference.drop(columns=LABEL, errors="ignore")
    pair = Comparison.of(compared, window, window_name, policy)
    limit = threshold(len(pair.methods), policy)
    limits = calibration.of if calibration is not None else lambda _: limit
    columns = [_column(pair, test, limits(test)) for test in pair.methods]
    if calibration is not None:
        columns += _of_no_column(pair, calibration)
        columns += _quality(reference, labelled, calibration, policy)
    drifted = sum(column.drifted for column in columns)
    record = DriftRecord(
        window=window_name,
        rows=len(pair.window),
        reference_rows=len(pair.reference),
        drifted=drifted > 0,
        share_drifted=drifted / len(columns),
        share_threshold=1.0 / len(columns),
        columns=sorted(columns, key=lambda column: (column.score, column.column)),
        false_alarm=policy.false_alarm,
    )
    return record, pair


def losses(frame: pd.DataFrame) -> np.ndarray | None:
    """Squared errors of the rows that have a label; None if there is no label at all."""
    if LABEL not in frame or not frame[LABEL].notna().any():
        return None
    known = frame[frame[LABEL].notna() & frame[PREDICTION].notna()]
    return ((known[PREDICTION] - known[LABEL]) ** 2).to_numpy(float)


def labels_needed(reference_rows: int, policy: DriftPolicy) -> int | None:
    """Rows with labels that quality needs: as rows of a window of one column."""
    return rows_needed(reference_rows, 1, policy)


def _column(pair: Comparison, test: str, limit: float) -> DriftColumn:
    score = pair.p_value(test)
    kind = "prediction" if test.startswith(PREDICTION) else "data"
    method = METHODS[pair.methods[test]]
    return DriftColumn(column=test, method=method, score=score, threshold=limit, drifted=score <= limit, kind=kind)


def _of_no_column(pair: Comparison, calibration: Calibration) -> Iterator[DriftColumn]:
    from harness.lifecycle import _joint
    from harness.lifecycle.calibration import PAIRS

    score, which = _joint.judge(*pair.raw)
    limit = calibration.of(PAIRS)
    yield DriftColumn(
        column=PAIRS, method=PAIRS_METHOD, score=score, threshold=limit, drifted=score <= limit, note=which
    )


def _quality(
    reference: pd.DataFrame, labelled: pd.DataFrame | None, calibration: Calibration, policy: DriftPolicy
) -> Iterator[DriftColumn]:
    """Nothing with too few labels."""
    from harness.lifecycle.calibration import QUALITY, quality_p_value

    old, new = losses(reference), None if labelled is None else losses(labelled)
    if QUALITY not in calibration.thresholds or old is None or new is None:
        return
    needed = labels_needed(len(old), policy)
    if needed is None or len(new) < needed:
        return
    new = new[-policy.most_rows :]
    score, limit = quality_p_value(old, new), calibration.of(QUALITY)
    note = f"mean squared error {new.mean():.4g} of {len(new)} rows, of the reference {old.mean():.4g}"
    yield DriftColumn(
        column=QUALITY,
        method=QUALITY_METHOD,
        score=score,
        threshold=limit,
        drifted=score <= limit,
        kind="quality",
        note=note,
    )


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
