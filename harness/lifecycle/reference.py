"""The training reference of a model version: what a window is compared with, and the thresholds that belong to it.

Both are artifacts of the version's run in MLflow, so that whoever serves the version can judge its traffic: the
reference is stored when the model was evaluated (held-out rows with predictions and labels), a calibration when it was
first needed for windows of a size and a rate. Heavy: mlflow, scipy.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle._comparison import DriftPolicy, least_reference, rows_needed
from harness.lifecycle.drift import LABEL, PREDICTION, losses
from harness.runtime.job import answer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow import MlflowClient

    from harness.lifecycle.calibration import Calibration

FOLDER, FILE = "drift", "reference.parquet"
MOST_ROWS = DriftPolicy().most_reference_rows


def frame_of(
    scored: pd.DataFrame, features: list[str], truth: np.ndarray, predicted: np.ndarray
) -> pd.DataFrame | None:
    """The reference out of scored held-out rows; None where a feature has the name of what is added."""
    if {PREDICTION, LABEL} & set(features):
        return None
    frame = scored[features].assign(**{PREDICTION: predicted, LABEL: truth})
    return frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0)


def store(mlflow: MlflowClient, run_id: str, reference: pd.DataFrame) -> None:
    """Keep the reference with the run of its model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        reference.to_parquet(path, index=False)
        mlflow.log_artifact(run_id, str(path), FOLDER)


def main(spec_json: str, result_path: str) -> None:
    """Job: fetch a version's reference and calibrate windows against it.

    Spec: {"tracking_uri", "model", "version": int, "features": the model's, "folder": where the files go, "rate":
    fields of calibration.Rate, "rows"?: of a usual window}. Answer: {"reference": parquet, "calibration": json,
    "rows": the fewest that can be judged, "labels": the fewest with a label, "least_reference": the fewest rows of a
    reference for such windows}.
    """
    answer(result_path, lambda: _fetch(json.loads(spec_json)))


def _fetch(spec: Mapping[str, Any]) -> dict[str, Any]:
    import pandas as pd

    from harness.lifecycle import tracking

    mlflow = tracking.client(spec["tracking_uri"])
    run_id = str(mlflow.get_model_version(spec["model"], str(spec["version"])).run_id)
    folder = Path(spec["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    path = _download(mlflow, run_id, folder, f"{spec['model']} v{spec['version']}")
    reference = pd.read_parquet(path)
    require(reference, spec["features"], f"{spec['model']} v{spec['version']}")
    calibrated, least, labels = calibrate(reference, spec["rate"], spec.get("rows"))
    told = folder / f"calibration-v{spec['version']}.json"
    told.write_text(json.dumps(asdict(calibrated)), encoding="utf-8")
    mlflow.log_artifact(run_id, str(told), FOLDER)
    policy = DriftPolicy(false_alarm=calibrated.per_look)
    return {
        "reference": str(path),
        "calibration": str(told),
        "rows": least,
        "labels": labels,
        "least_reference": least_reference(len(spec["features"]) + 1, policy),
    }


def require(reference: pd.DataFrame, features: Sequence[str], version: str) -> None:
    """Raise DataError if the reference lacks one of the model's features, or the prediction."""
    if absent := [name for name in (*features, PREDICTION) if name not in reference.columns]:
        raise DataError(
            f"The drift reference of {version} lacks {', '.join(map(repr, absent))} of the model's columns (it has "
            f"{', '.join(map(str, reference.columns))}).",
            hint="Train the version again: its reference is of another model.",
        )


def calibrate(
    reference: pd.DataFrame, rate: Mapping[str, float], rows: int | None
) -> tuple[Calibration, int, int | None]:
    """The calibration for windows of a usual size, the fewest rows that can be judged, and the fewest with labels."""
    from harness.lifecycle import calibration
    from harness.lifecycle.drift import labels_needed

    wanted = calibration.Rate(**rate)
    policy = DriftPolicy(false_alarm=wanted.per_look)
    compared = reference.drop(columns=LABEL, errors="ignore")
    least = rows_needed(len(reference), len(compared.columns), policy)
    if least is None:
        raise DataError(
            f"The reference has {len(reference)} rows, too few to find a shift of {policy.detectable:g} with "
            f"{wanted.per_look:.2g} false alarms a look.",
            hint="Train on more rows, look less often, or accept more false alarms a day.",
        )
    usual = min(max(least, rows or 0), policy.most_rows, max(least, len(reference) // 2))
    errors = losses(reference)
    found = calibration.calibrate(compared, wanted, rows=usual, losses=errors)
    return found, least, labels_needed(len(reference), policy) if errors is not None else None


def _download(mlflow: MlflowClient, run_id: str, folder: Path, version: str) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.download_artifacts(run_id, f"{FOLDER}/{FILE}", str(folder)))
    except (MlflowException, OSError) as error:
        raise DataError(
            f"{version} has no drift reference: {str(error).splitlines()[0]}",
            hint="It is stored by the training pipeline; a feature called 'prediction' or 'label' prevents it.",
        ) from error
