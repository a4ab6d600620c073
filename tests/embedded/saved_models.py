"""Models for the serving tests, saved by MLflow in a process that has it imported."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

COLUMNS = ["age", "visits", "income"]


class ExitsWhenLoaded:
    """A pickle that ends the process that opens it."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (7,)


class Moody:
    """A regressor that fails below age 0 and takes 80 ms above age 10."""

    def predict(self, rows: Any) -> list[float]:
        ages = [float(age) for age in rows["age"]]
        if min(ages) < 0:
            raise RuntimeError("no one is younger than 0")
        if max(ages) > 10:
            time.sleep(0.08)
        return ages


def save(folder: str) -> None:
    """shallow, deep: classifiers over COLUMNS; mixed: with text; corrupt, exits: cannot be loaded; moody: see Moody."""
    home = Path(folder)
    _classifier(home / "shallow", depth=2)
    _classifier(home / "deep", depth=6)
    _mixed(home / "mixed")
    _moody(home / "moody")
    _classifier(home / "corrupt", depth=2)
    (home / "corrupt" / "model.pkl").write_bytes(b"these are not the bytes of a model")
    _classifier(home / "exits", depth=2)
    _pickle(home / "exits" / "model.pkl", ExitsWhenLoaded())


def _classifier(path: Path, depth: int) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    random = np.random.default_rng(7)
    features = pd.DataFrame(random.normal(size=(400, 3)), columns=COLUMNS)
    target = (features["age"] * features["visits"] + random.normal(size=400) > 0).astype(int)
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=depth, random_state=0))
    _save(path, model.fit(features, target), features)
    rows = features.tail(5)
    answers = model.predict_proba(rows)[:, 1].tolist()
    (path / "expected.json").write_text(json.dumps({"rows": rows.to_numpy().tolist(), "answers": answers}))


def _mixed(path: Path) -> None:
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    features = pd.DataFrame({"age": [30.0, 40.0, 50.0, 60.0], "town": ["a", "b", "a", "c"]})
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough")
    model = make_pipeline(encoder, Ridge()).fit(features, [1.0, 2.0, 3.0, 4.0])
    _save(path, model, features)
    answers = {"rows": [[30.0, "a"]], "answers": model.predict(features.head(1)).tolist()}
    (path / "expected.json").write_text(json.dumps(answers))


def _moody(path: Path) -> None:
    import pandas as pd

    _save(path, Moody(), pd.DataFrame({"age": [1.0, 2.0]}))


def _save(path: Path, model: Any, features: Any) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        str(path),
        serialization_format="cloudpickle",
        signature=infer_signature(features, model.predict(features)),
        input_example=features.head(3),
        pip_requirements=[],
    )


def _pickle(path: Path, value: Any) -> None:
    import cloudpickle

    path.write_bytes(cloudpickle.dumps(value))


def copy_template(database: str) -> None:
    """MLflow's template store, made if it is not there, copied to `database`."""
    from harness.components.mlflow import copy_template as copy

    copy(Path(database))


def register(tracking_uri: str, folder: str, name: str) -> None:
    """Version 1 of `name` in MLflow's registry, from a saved model's folder."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(folder, "model")
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
