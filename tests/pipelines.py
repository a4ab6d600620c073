"""What a training pipeline leaves, for the tests that hold one runner against another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness import Platform
from harness.lifecycle.dataset import high_utiliser
from harness.lifecycle.tracking import client
from harness.model_version import ModelVersion

SEARCH: dict[str, Any] = {"estimator": "gradient-boosting", "trials": 2}


def leaves_what_the_embedded_one_leaves(platform: Platform, runner: str) -> None:
    """Train by kfp.local on this machine, then by `runner`, and compare all that is left."""
    here = platform.train(high_utiliser(), runner="local", **SEARCH)
    before = tracked(platform, here)
    there = platform.train(high_utiliser(), runner=runner, **SEARCH)
    after = tracked(platform, there)
    assert after == before
    assert there.version == here.version + 1
    for name in ("params", "metrics", "features", "data_fingerprint", "plots", "code_version"):
        assert getattr(there.result.model, name) == getattr(here.result.model, name), name
    assert [task.name for task in there.result.run.tasks] == [task.name for task in here.result.run.tasks]
    assert [task.detail for task in there.result.run.tasks[:4]] == [task.detail for task in here.result.run.tasks[:4]]
    pd.testing.assert_frame_equal(pd.read_parquet(there.result.heldout), pd.read_parquet(here.result.heldout))
    assert there.result.run.runner == runner
    assert np.array_equal(offline(platform, there, here), offline(platform, here, here))


def tracked(platform: Platform, model: ModelVersion) -> dict[str, Any]:
    """What MLflow has of a training, but for what names the run: ids, times, names."""
    mlflow = client(platform.backend.tracking_uri)
    run = mlflow.get_run(model.result.model.run_id)
    nested = mlflow.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    version = mlflow.get_model_version(model.name, str(model.version))
    own = ("mlflow.runName", "mlflow.user")
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "tags": {key: value for key, value in run.data.tags.items() if key not in own},
        "artifacts": sorted(each.path for each in mlflow.list_artifacts(run.info.run_id, "plots")),
        "trials": sorted((sorted(each.data.params.items()), sorted(each.data.metrics.items())) for each in nested),
        "version tags": version.tags,
        "aliases": version.aliases,
    }


def offline(platform: Platform, model: ModelVersion, rows_of: ModelVersion) -> np.ndarray[Any, Any]:
    """What the registered model says of the held-out rows."""
    import mlflow

    mlflow.set_tracking_uri(platform.backend.tracking_uri)
    loaded = mlflow.sklearn.load_model(f"models:/{model.name}/{model.version}")
    rows = pd.read_parquet(rows_of.result.heldout)[rows_of.features]
    return np.asarray(loaded.predict_proba(rows))
