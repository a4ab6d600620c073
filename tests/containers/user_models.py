"""What a user of the modules does with MLflow, each in a process of its own (conftest.in_a_process)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS = [[0.5, -0.25, 1.0], [-1.0, 0.75, 0.0]]


def save(folder: str) -> str:
    """A classifier in a folder; its answers to ROWS lie beside it."""
    import mlflow

    model, frame = _classifier()
    mlflow.sklearn.save_model(model, folder, **_how(frame))
    answers = model.predict_proba(frame.head(2))[:, 1].tolist()
    told = {"rows": frame.head(2).to_numpy().tolist(), "answers": answers}
    Path(folder, "expected.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def register(tracking_uri: str, name: str) -> str:
    """The classifier as a new version of a registered model, with a metric and a text artifact; its version."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    model, frame = _classifier()
    with mlflow.start_run() as run:
        mlflow.log_metric("auc", 0.75)
        mlflow.log_text("a note", "notes/note.txt")
        made = mlflow.sklearn.log_model(model, name="model", registered_model_name=name, **_how(frame))
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/note.txt") == "a note"
    assert mlflow.get_run(run.info.run_id).data.metrics == {"auc": 0.75}
    return str(made.registered_model_version)


def _classifier() -> tuple[Any, Any]:
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(7)
    frame = pd.DataFrame(np.vstack([ROWS, random.normal(size=(200, 3))]), columns=["age", "visits", "income"])
    return LogisticRegression().fit(frame, (frame["age"] > 0).astype(int)), frame


def _how(frame: Any) -> dict[str, Any]:
    from mlflow.models import infer_signature

    return {
        "signature": infer_signature(frame),
        "serialization_format": "cloudpickle",
        "pip_requirements": ["scikit-learn"],
    }
