"""The training pipeline and the gate on the real KFP runner and a real MLflow server, steps forked from a nursery."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.clients import http
from harness.clients.mlflow import MLflowClient
from harness.components.mlflow import server_env
from harness.errors import DataError, RehearsalError, TrainingFunctionError
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.pipeline import PRELOAD
from harness.lifecycle.spec import GateSpec, PipelineResult, TrainingSpec
from harness.lifecycle.tracking import client
from harness.report.record import GateRecord, Status
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.job import read_answer
from harness.runtime.nursery import Nursery
from harness.runtime.ports import reserve
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

TASKS = ["ingest", "validate", "features", "search", "train", "evaluate", "register"]
CACHED = {"ingest", "validate", "features"}


@dataclass
class World:
    """A server to report to, and a nursery to run jobs in."""

    folder: Path
    uri: str
    nursery: Nursery
    step_python: str
    jobs: int = 0

    def job(self, target: str, spec_json: str) -> dict[str, Any]:
        self.jobs += 1
        name = f"job-{self.jobs}-{threading.get_ident()}"
        result = self.folder / f"{name}.json"
        child = self.nursery.fork(
            name,
            target,
            [spec_json, str(result)],
            log=self.folder / f"{name}.log",
            env={"REHEARSAL_CACHE": str(self.folder / "cache")},
            cwd=self.folder,
            deadline=Deadline.after(60),
        )
        try:
            wait(lambda: child.poll() is not None, what=name, deadline=Deadline.after(120))
        finally:
            child.stop()
        assert result.exists(), child.tail(60)
        return read_answer(result)

    def train(self, spec: TrainingSpec) -> PipelineResult:
        return PipelineResult.model_validate(self.job("harness.lifecycle.pipeline:main", spec.to_json()))

    def spec(self, **choices: Any) -> TrainingSpec:
        values = {
            "dataset": high_utiliser(),
            "model_name": "high-utiliser",
            "tracking_uri": self.uri,
            "experiment": "contract",
            "run_folder": str(self.folder / "run"),
            "step_python": self.step_python,
            "code_version": "abc123",
        }
        return TrainingSpec(**{**values, **choices})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # A folder with a space and with "python3" in its name: kfp.local splits and rewrites such paths if it is let to.
    folder = tmp_path_factory.mktemp("my python3 folder")
    short = tmp_path_factory.mktemp("s")
    port = reserve()
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "artifacts")]
    with closing(EventLog(short / "events.jsonl")) as events, Supervisor(short, events) as supervisor:
        server = supervisor.spawn("mlflow", [*argv, *store], env=server_env())
        nursery = supervisor.nursery("nursery", PRELOAD, env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
        uri = f"http://127.0.0.1:{port}"
        with http.client(uri) as asking:
            wait(lambda: asking.get("/health").is_success, what="mlflow", deadline=Deadline.after(60), child=server)
        # Migrating an empty database takes MLflow many seconds; the test of another server starts from this one.
        shutil.copy(folder / "m.db", folder / "empty.db")
        yield World(folder, uri, nursery, str(nursery.warm_python(short)))


@pytest.fixture(scope="module")
def baseline(world: World) -> PipelineResult:
    return world.train(world.spec(name="baseline"))


@pytest.fixture(scope="module")
def candidate(world: World, baseline: PipelineResult) -> PipelineResult:
    return world.train(world.spec(name="candidate", estimator="gradient-boosting", trials=3))


def test_a_pipeline_registers_a_version_with_everything_that_an_audit_asks_for(
    world: World, baseline: PipelineResult
) -> None:
    """Parameters, metrics, plots, fingerprint, signature, input example and code version are in MLflow."""
    assert [task.name for task in baseline.run.tasks] == TASKS
    assert {task.status for task in baseline.run.tasks} == {Status.PASSED}
    assert baseline.model.metrics["auc"] == pytest.approx(0.61, abs=0.03)
    with MLflowClient(world.uri) as mlflow:
        version = mlflow.version("high-utiliser", baseline.model.version)
        run = mlflow.run(baseline.model.run_id)
    assert run.status == "FINISHED"
    assert run.params["max_depth"] == "2"
    assert run.metrics["auc"] == baseline.model.metrics["auc"]
    assert run.tags["code_version"] == version.tags["code_version"] == "abc123"
    assert run.tags["data_fingerprint"] == version.tags["data_fingerprint"] == baseline.run.data_fingerprint
    plots = [each.path for each in client(world.uri).list_artifacts(run.run_id, "plots")]
    assert plots == ["plots/calibration.svg", "plots/roc.svg"]


def test_the_offline_predictions_are_those_of_the_registered_model(world: World, baseline: PipelineResult) -> None:
    """What is loaded from the registry answers as the evaluation did; it has signature and input example."""
    import mlflow

    mlflow.set_tracking_uri(world.uri)
    uri = f"models:/{baseline.model.name}/{baseline.model.version}"
    rows = pd.read_parquet(baseline.heldout)
    model = mlflow.sklearn.load_model(uri)
    assert np.array_equal(model.predict_proba(rows[baseline.features])[:, 1], rows["offline_prediction"])
    described = mlflow.models.get_model_info(uri)
    assert described.signature.inputs.input_names() == baseline.features
    assert described.saved_input_example_info is not None


def test_the_compiled_file_names_no_place_of_this_machine(world: World, baseline: PipelineResult) -> None:
    """It must run on a KFP back end as it is."""
    compiled = Path(world.folder / "run" / baseline.run.compiled).read_text(encoding="utf-8")
    assert "rehearsal/pipeline:" in compiled
    for place in (str(world.folder), str(Path.home()) + "/", str(Path.cwd()), sys.prefix, "127.0.0.1"):
        assert place not in compiled


def test_the_compiled_file_lets_a_back_end_cache_only_what_knows_no_server(
    world: World, baseline: PipelineResult
) -> None:
    """A KFP back end must not take a registration from its cache."""
    compiled = yaml.safe_load((world.folder / "run" / baseline.run.compiled).read_text(encoding="utf-8"))
    tasks = compiled["root"]["dag"]["tasks"]
    assert list(tasks) == sorted(TASKS)
    assert {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")} == CACHED


def test_unchanged_steps_come_from_the_cache_in_another_run_and_for_another_server(
    world: World, baseline: PipelineResult, tmp_path: Path
) -> None:
    """Ingest, validate and features hit; what speaks to MLflow runs; another threshold misses."""
    shutil.copy(world.folder / "empty.db", tmp_path / "other.db")
    elsewhere = {"run_folder": str(tmp_path), "tracking_uri": f"sqlite:///{tmp_path}/other.db"}
    again = world.train(world.spec(**elsewhere))
    assert {task.name for task in again.run.tasks if task.cached} == CACHED
    assert again.model.version == 1
    assert again.model.metrics == baseline.model.metrics
    assert again.run.data_fingerprint == baseline.run.data_fingerprint
    other = world.train(world.spec(dataset=high_utiliser(threshold=8), model_name="other"))
    assert not any(task.cached for task in other.run.tasks)


def test_the_cache_keeps_nothing_that_no_run_can_hit(world: World, candidate: PipelineResult) -> None:
    """Models and scored rows live in MLflow and in the run folder, not in the cache for ever."""
    kept = {path.parent.name for path in (world.folder / "cache" / "kfp" / "artifacts").glob("*/*/*/*")}
    assert kept == CACHED


def test_two_pipelines_at_once_share_the_cache(world: World, tmp_path: Path) -> None:
    """Both miss, both write, both finish with the same result; the next one hits."""
    data = high_utiliser(threshold=6)
    found: list[PipelineResult] = []
    specs = [world.spec(dataset=data, model_name=f"twin-{at}", run_folder=str(tmp_path)) for at in range(2)]
    threads = [threading.Thread(target=lambda spec=spec: found.append(world.train(spec))) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 2
    assert found[0].model.metrics == found[1].model.metrics
    assert found[0].run.name != found[1].run.name
    after = world.train(specs[0])
    assert {task.name for task in after.run.tasks if task.cached} == CACHED


def test_every_trial_of_the_search_is_a_nested_run(world: World, candidate: PipelineResult) -> None:
    """Three trials, each with its parameters and its metric, below the training's run."""
    mlflow, parent = client(world.uri), candidate.model.run_id
    experiment = mlflow.get_run(parent).info.experiment_id
    nested = mlflow.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert {run.info.run_id for run in nested} == {trial.run_id for trial in candidate.run.trials}
    assert len(nested) == 3
    (best,) = [trial for trial in candidate.run.trials if trial.best]
    assert best.value == max(trial.value for trial in candidate.run.trials)
    assert all(str(candidate.model.params[name]) == str(value) for name, value in best.params.items())
    assert {run.info.status for run in nested} == {"FINISHED"}


def test_the_gate_lets_the_better_model_through_and_refuses_the_worse(
    world: World, baseline: PipelineResult, candidate: PipelineResult
) -> None:
    """Both versions come out of the registry; the interval decides."""

    def gate(challenger: PipelineResult, champion: PipelineResult | None) -> GateRecord:
        number = champion.model.version if champion else None
        data = high_utiliser()
        spec = GateSpec("high-utiliser", challenger.model.version, number, world.uri, challenger.heldout, data)
        return GateRecord.model_validate(world.job("harness.lifecycle.gate:main", spec.to_json()))

    assert gate(baseline, None).passed
    assert gate(candidate, baseline).passed
    refused = gate(baseline, candidate)
    assert not refused.passed
    assert "not worse than the champion" in {line.name for line in refused.lines if line.passed is False}


@pytest.fixture
def claims(tmp_path: Path) -> Dataset:
    """A user's CSV with text, gaps and three broken rows."""
    random = np.random.default_rng(5)
    rows = 400
    frame = pd.DataFrame(
        {"age": random.normal(50, 9, rows).round(1).astype(object), "plan": random.choice(["a", "b"], rows)}
    )
    frame["cost"] = (frame["age"].astype(float) * 10 + 100 * (frame["plan"] == "a") + random.normal(0, 20, rows)).round(
        2
    )
    frame.loc[:1, "age"] = "unknown"
    frame.loc[2, "cost"] = None
    frame.loc[9:15, "plan"] = None
    frame.to_csv(tmp_path / "claims.csv", index=False)
    return Dataset("claims", str(tmp_path / "claims.csv"), "cost", task="regression", slices=("plan",))


def users(folder: Path, body: str) -> dict[str, Any]:
    """A training function of the user's, in a module whose name no other test uses."""
    name = f"mine_{folder.name}"
    (folder / f"{name}.py").write_text(
        f"from sklearn.linear_model import LinearRegression\ndef train(features, target, **params):\n    {body}\n",
        encoding="utf-8",
    )
    return {"estimator": f"{name}:train", "source_root": str(folder), "run_folder": str(folder), "model_name": name}


def test_a_users_file_and_function_go_the_whole_way(world: World, claims: Dataset, tmp_path: Path) -> None:
    """Broken rows are counted with reasons, text becomes features, the user's estimator is registered."""
    mine = users(tmp_path, "return LinearRegression(**params).fit(features, target)")
    result = world.train(world.spec(dataset=claims, **mine, params={"positive": False}))
    assert result.run.quarantine_reasons == {"age: not a number": 2, "cost: missing": 1}
    assert len(pd.read_parquet(result.quarantine)) == 3
    assert result.features == ["age", "plan"]
    assert result.model.metrics["rmse"] == pytest.approx(20, rel=0.3)
    spec = GateSpec(mine["model_name"], 1, None, world.uri, result.heldout, claims)
    assert GateRecord.model_validate(world.job("harness.lifecycle.gate:main", spec.to_json())).lines


def test_the_best_trial_of_a_regression_has_the_smallest_error(world: World, claims: Dataset, tmp_path: Path) -> None:
    """RMSE: its parameters, and no other's, are what the model was fitted with."""
    spec = world.spec(
        dataset=claims, run_folder=str(tmp_path), model_name="ridge", estimator="logistic-regression", trials=4
    )
    result = world.train(spec)
    (best,) = [trial for trial in result.run.trials if trial.best]
    assert best.value == min(trial.value for trial in result.run.trials)
    assert best.value < max(trial.value for trial in result.run.trials)
    assert result.model.params["alpha"] == best.params["alpha"]


FAILING = {
    "raises": ("raise KeyError('bmi')", r"raised KeyError: 'bmi' \(.*mine_.*\.py:3\)"),
    "returns nothing": ("pass", "returned nothing"),
    "hangs": ("__import__('time').sleep(60)", "did not finish within 1 s"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failing_function_fails_the_run_with_its_cause(
    world: World, claims: Dataset, tmp_path: Path, case: str
) -> None:
    """The error crosses three processes as it was, and MLflow shows the run as failed."""
    body, message = FAILING[case]
    spec = world.spec(dataset=claims, **users(tmp_path, body), experiment=f"failing {case}", deadline_s=1.0)
    with pytest.raises(TrainingFunctionError, match=message):
        world.train(spec)
    mlflow = client(world.uri)
    experiment = mlflow.get_experiment_by_name(spec.experiment)
    assert [run.info.status for run in mlflow.search_runs([experiment.experiment_id])] == ["FAILED"]
    assert list(mlflow.search_model_versions(f"name='{spec.model_name}'")) == []


def test_bad_data_fails_with_the_users_error_and_leaves_no_run(world: World, claims: Dataset, tmp_path: Path) -> None:
    """A wrong column is found before anything is tracked, and keeps its class: exit code 2, one line."""
    spec = world.spec(dataset=replace(claims, target="price"), run_folder=str(tmp_path), experiment="bad data")
    with pytest.raises(DataError, match="'price' is not a column; columns: age, plan, cost") as caught:
        world.train(spec)
    assert isinstance(caught.value, RehearsalError)
    assert client(world.uri).get_experiment_by_name("bad data") is None


def test_progress_is_told_task_by_task(world: World, baseline: PipelineResult) -> None:
    """A parent can show what runs now, and for how long the last one took."""
    told = min(world.folder.glob("job-*.json.progress"), key=os.path.getmtime)
    lines = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    assert [(line["task"], line["status"]) for line in lines] == [
        (task, status) for task in TASKS for status in ("running", "passed")
    ]
    assert lines[1]["detail"].startswith("20,190 rows")
