"""Two small models for chaos cases, saved to folders once a session: a case then takes seconds and no registry."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runtime.job import answer

if TYPE_CHECKING:
    from harness.platform import Platform

COLUMNS = ["age", "visits", "income"]
SAVE = "harness.chaos.models:main"
MODEL_FILE = "model.pkl"


@dataclass(frozen=True)
class SavedModel:
    """A model version that lies in a folder, as far as serving and a rollout ask of one."""

    name: str
    version: int
    folder: Path

    @property
    def uri(self) -> str:
        """The storageUri of its InferenceService."""
        return str(self.folder)

    def copy_to(self, folder: Path) -> SavedModel:
        """The same model in a folder of its own, where it may be broken."""
        shutil.copytree(self.folder, folder)
        return SavedModel(self.name, self.version, folder)

    def corrupt(self) -> None:
        """Make its file garbage: who loads it from now on cannot."""
        (self.folder / MODEL_FILE).write_bytes(b"these are not the bytes of a model")


@dataclass(frozen=True)
class SavedModels:
    """A baseline, a canary that is as good and answers the same, and a file with request bodies, one a line."""

    baseline: SavedModel
    canary: SavedModel
    requests: Path


def saved_models(platform: Platform, folder: Path, name: str = "chaos") -> SavedModels:
    """The models in `folder`; saves them there in a warm process of the platform if they are not there yet."""
    requests = folder / "requests.jsonl"
    if not requests.exists():
        platform.job(SAVE, {"folder": str(folder)}, name="chaos-models")
    return SavedModels(SavedModel(name, 1, folder / "v1"), SavedModel(name, 2, folder / "v2"), requests)


def main(spec: str, result_path: str) -> None:
    """The job: save both models and the requests."""
    answer(result_path, lambda: _save(Path(json.loads(spec)["folder"])))


def _save(folder: Path) -> dict[str, str]:
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    random = np.random.default_rng(7)
    features = pd.DataFrame(random.normal(size=(400, len(COLUMNS))), columns=COLUMNS)
    target = (features["age"] * features["visits"] > 0).astype(int)
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=4, random_state=0)).fit(features, target)
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.sklearn.save_model(
        model,
        str(folder / "v1"),
        serialization_format="cloudpickle",
        signature=infer_signature(features, model.predict(features)),
        pip_requirements=[],
    )
    shutil.copytree(folder / "v1", folder / "v2")
    rows = features.head(50).to_numpy().tolist()
    lines = "".join(json.dumps({"instances": [row]}) + "\n" for row in rows)
    beside = folder / "requests.new"
    beside.write_text(lines, encoding="utf-8")
    beside.replace(folder / "requests.jsonl")
    return {"folder": str(folder)}
