"""Job: read a prediction log, say how good its predictions turned out to be, and hand its rows on as Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.lifecycle import quality
from harness.prediction_log import reader
from harness.report.record import PredictionsRecord, QualityWindow
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd

WINDOW_S = 3600.0


def main(spec_json: str, result_path: str) -> None:
    """Spec: {"folder", "namespace", "service", "features"?: [...], "since"?, "until"?: Unix seconds, "revision"?: only
    what it predicted, "window_s"?: of the windows of quality, "export"?: {"path": parquet, "target": what the label's
    column is called, "labelled": whether only rows with a label are wanted}}. Answer: a PredictionsRecord.
    """
    answer(result_path, lambda: read(json.loads(spec_json)).model_dump())


def read(spec: Mapping[str, Any]) -> PredictionsRecord:
    """What `main` answers to a spec."""
    found = reader.read(
        Path(spec["folder"]),
        spec["namespace"],
        spec["service"],
        spec.get("features"),
        since=_moment(spec.get("since"), -math.inf),
        until=_moment(spec.get("until"), math.inf),
        revision=spec.get("revision"),
    )
    if export := spec.get("export"):
        _export(found.frame, export)
    return record(f"{spec['namespace']}/{spec['service']}", found, spec.get("window_s") or WINDOW_S)


def record(service: str, found: reader.Predictions, window_s: float) -> PredictionsRecord:
    """What was read, for the record of a run."""
    counts = found.frame[reader.REVISION].value_counts().sort_index()
    return PredictionsRecord(
        service=service,
        rows=len(found.frame),
        labelled=found.labelled,
        unanswered=found.unanswered,
        unasked=found.unasked,
        unreadable=found.unreadable,
        revisions={str(name): int(rows) for name, rows in counts.items()},
        windows=list(_windows(found.frame, window_s)),
    )


def _windows(frame: pd.DataFrame, window_s: float) -> Iterator[QualityWindow]:
    truth, predicted = frame[reader.TARGET].to_numpy(), frame[reader.PREDICTION].to_numpy()
    for span in quality.spans(frame[reader.AT].to_numpy(), window_s):
        known = ~(frame[reader.TARGET].isna() | frame[reader.PREDICTION].isna()).to_numpy()[span.rows]
        metrics = quality.metrics(truth[span.rows][known], predicted[span.rows][known])
        yield QualityWindow(
            start=span.start,
            end=span.end,
            rows=span.rows.stop - span.rows.start,
            labelled=int(known.sum()),
            metrics=metrics,
        )


def _export(frame: pd.DataFrame, wanted: Mapping[str, Any]) -> None:
    """The features with the label under the name that the training data has for it; beside the target and renamed."""
    rows = frame[frame[reader.TARGET].notna()] if wanted.get("labelled", True) else frame
    target, beside = Path(wanted["path"]), Path(f"{wanted['path']}.tmp")
    beside_features = [reader.ID, reader.AT, reader.REVISION, reader.PREDICTION]
    chosen = rows.drop(columns=beside_features).rename(columns={reader.TARGET: wanted["target"]})
    chosen.to_parquet(beside, index=False)
    beside.replace(target)


def _moment(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else float(given)
