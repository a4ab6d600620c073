"""What a training leaves in MLflow: a run with nested trials, metrics, plots, and a registered model version.

Heavy: imports mlflow. Calls are batched, because each one is a request and a commit of the server.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StepFailed
from harness.lifecycle.search import TrialResult

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

CANDIDATE = "candidate"
_REQUIREMENTS = ("scikit-learn", "cloudpickle", "pandas", "numpy")
_MAX_PARAM = 500
_MAX_NAME = 250


@dataclass(frozen=True)
class Tracking:
    """Where a pipeline reports to; crosses the pipeline as one JSON parameter."""

    uri: str
    experiment: str
    model_name: str
    run_name: str
    code_version: str

    @classmethod
    def from_json(cls, text: str) -> Tracking:
        return cls(**json.loads(text))


def client(uri: str) -> MlflowClient:
    """A client that gives up after seconds: MLflow's own defaults retry for many minutes on a server that is gone."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri)


def start_run(tracking: Tracking, tags: Mapping[str, str]) -> str:
    """Opens the training's run and returns its id."""
    mlflow = client(tracking.uri)
    own = {"code_version": tracking.code_version, "mlflow.source.name": "rehearsal", "mlflow.source.type": "JOB"}
    run = mlflow.create_run(_experiment(mlflow, tracking.experiment), run_name=tracking.run_name, tags={**own, **tags})
    return str(run.info.run_id)


def log_trials(tracking: Tracking, parent: str, metric: str, trials: Sequence[TrialResult]) -> list[str]:
    """Records each trial as a run nested under `parent`; returns their ids."""
    from mlflow.entities import Metric, Param

    mlflow = client(tracking.uri)
    experiment = _experiment(mlflow, tracking.experiment)
    ids = []
    for trial in trials:
        start, end = int(trial.started_at * 1000), int(trial.ended_at * 1000)
        tags = {"mlflow.parentRunId": parent, "code_version": tracking.code_version}
        name = f"{tracking.run_name}-trial-{trial.number}"
        run_id = mlflow.create_run(experiment, start_time=start, tags=tags, run_name=name).info.run_id
        params = [Param(key, _short(value)) for key, value in trial.params.items()]
        mlflow.log_batch(run_id, metrics=[Metric(metric, abs(trial.value), end, 0)], params=params, synchronous=True)
        mlflow.set_terminated(run_id, end_time=end)
        ids.append(run_id)
    return ids


def log_params(tracking: Tracking, run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    client(tracking.uri).log_batch(run_id, params=[Param(key, _short(value)) for key, value in params.items()])


def log_evaluation(
    tracking: Tracking, run_id: str, metrics: Mapping[str, float], plots: Mapping[str, str], at: float
) -> None:
    """Metrics in one batch, and each plot as plots/<title>.svg; `at` in Unix seconds."""
    from mlflow.entities import Metric

    mlflow = client(tracking.uri)
    known = [Metric(metric_name(key), value, int(at * 1000), 0) for key, value in metrics.items() if value == value]
    mlflow.log_batch(run_id, metrics=known)
    for title, svg in plots.items():
        mlflow.log_text(run_id, svg, f"plots/{title.lower().replace(' ', '-')}.svg")


def register(
    tracking: Tracking, run_id: str, model: Any, example: pd.DataFrame, tags: Mapping[str, str], source_root: str | None
) -> int:
    """Logs the model with its signature and input example, makes the next version, gives it the alias `candidate`."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    from harness.lifecycle.model import pickle_by_value

    registry = client(tracking.uri)
    pickle_by_value(source_root)
    try:
        with mlflow.start_run(run_id=run_id), _requirements_unchecked():
            logged = mlflow.sklearn.log_model(
                model,
                name="model",
                serialization_format="cloudpickle",
                signature=infer_signature(example, model.predict(example)),
                input_example=example,
                pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            )
        _make_registered_model(registry, tracking.model_name)
        made = registry.create_model_version(
            tracking.model_name, logged.model_uri, run_id, tags=dict(tags), model_id=logged.model_id
        )
        registry.set_registered_model_alias(tracking.model_name, CANDIDATE, made.version)
    except MlflowException as error:
        raise StepFailed(f"MLflow at {tracking.uri} refused model {tracking.model_name!r}: {error.message}") from error
    return int(made.version)


@contextmanager
def failing(tracking: Tracking, run_id: str) -> Iterator[None]:
    """Marks the run as failed when the body raises, so that no run looks as if it were still going on."""
    try:
        yield
    except BaseException:
        client(tracking.uri).set_terminated(run_id, "FAILED")
        raise


def download(uri: str, name: str, number: int, folder: Path) -> Path:
    """The files of a model version in `folder`."""
    client(uri)
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=str(folder)))


@contextmanager
def _requirements_unchecked() -> Iterator[None]:
    """Our requirements are this environment's own versions; MLflow's check that they are takes half a second."""
    from mlflow.utils import requirements_utils

    name = "_check_requirement_satisfied"
    check = getattr(requirements_utils, name, None)
    if check is None:
        yield
        return
    setattr(requirements_utils, name, lambda requirement: None)
    try:
        yield
    finally:
        setattr(requirements_utils, name, check)


def _experiment(mlflow: MlflowClient, name: str) -> str:
    """The experiment's id; another run may make it between the look and the making."""
    from mlflow.exceptions import MlflowException

    if found := mlflow.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(mlflow.create_experiment(name))
    except MlflowException as error:
        if found := mlflow.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise StepFailed(f"MLflow: cannot make the experiment {name!r}: {error.message}") from error


def _make_registered_model(registry: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        registry.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def metric_name(key: str) -> str:
    """A metric name that MLflow accepts: words, spaces and "_-.:" (a slash would make it a path), 250 characters."""
    spoken = key.replace("<=", " at most ").replace(">", " above ").replace("=", " ")
    return re.sub(r"[^\w\-.: ]", "_", spoken)[:_MAX_NAME]


def _short(value: Any) -> str:
    return str(value)[:_MAX_PARAM]
