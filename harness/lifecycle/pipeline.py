"""Runs the training pipeline: compiles it, has the compiled file run (by kfp.local), and reads what it left.

`main` is the job that a forked worker runs. Importing this module is cheap; running it is not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import errors
from harness.errors import RehearsalError, TrainingFailed, TrainingFunctionError
from harness.lifecycle._kfp_local import local_runner
from harness.lifecycle._watch import Todo, Watch
from harness.lifecycle.dataset import source_digest
from harness.lifecycle.spec import PipelineResult, TrainingSpec
from harness.report.record import ModelVersionRecord, PipelineRun, Status, Trial
from harness.runtime.job import answer

PRELOAD = (
    "harness.lifecycle.kfp_pipeline",
    "harness.lifecycle.model",
    "harness.lifecycle.features",
    "harness.lifecycle.evaluation",
    "harness.lifecycle.search",
    "harness.lifecycle.gate",
    "harness.lifecycle.tracking",
    "kfp.local",
    "kfp.dsl.executor",
    "kfp.local.orchestrator.dag_orchestrator",
    "mlflow.sklearn",
    "mlflow.models",
    "optuna",
    "optuna.samplers",
    "pandera.pandas",
    "pandera.backends.pandas.register",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.tree",
    "statsmodels.datasets.randhie",
    "threadpoolctl",
)
"""What a nursery imports so that a forked pipeline, and each of its steps, starts in milliseconds."""

_CODE = {
    "ingest": ("harness.lifecycle.steps", "harness.lifecycle.dataset"),
    "validate": ("harness.lifecycle.steps", "harness.lifecycle.dataset", "harness.lifecycle.validation"),
    "features": (
        "harness.lifecycle.steps",
        "harness.lifecycle.dataset",
        "harness.lifecycle.features",
        "harness.lifecycle.model",
    ),
}
_DATA_PACKAGES = ("numpy", "pandas", "pandera", "pyarrow", "scikit-learn", "cloudpickle")


Runner = Callable[[Todo], AbstractContextManager[None]]
"""Runs a compiled pipeline on entering; its outputs are there until the exit."""


def run_pipeline(spec: TrainingSpec, progress: Path | None = None, run: Runner = local_runner) -> PipelineResult:
    """Trains, judges and registers one version; raises the step's own error, DataError or TrainingFailed for instance.

    Appends a JSON line for each start and end of a task to `progress` (default: progress.jsonl in the pipeline's
    folder). Needs a process of its own: kfp.local's configuration is global, and so are the changes to os.environ.
    """
    from harness.lifecycle.kfp_pipeline import compile_to

    started = time.monotonic()
    folder = _new_folder(Path(spec.run_folder) / "pipelines", spec.name)
    compiled = folder / "pipeline.yaml"
    compile_to(compiled)
    watch = Watch(progress or folder / "progress.jsonl")
    with tempfile.TemporaryDirectory(prefix="rehearsal-kfp-") as scratch:
        todo = Todo(compiled, spec, arguments(spec), folder, Path(scratch), watch)
        todo.errors.mkdir()
        with run(todo):
            _raise_if_failed(todo)
            return _result(spec, folder, watch, time.monotonic() - started)


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): run one pipeline, tell its tasks as progress, answer with its PipelineResult."""
    progress = Path(f"{result_path}.progress")
    answer(result_path, lambda: run_pipeline(TrainingSpec.from_json(spec_json), progress).model_dump(mode="json"))


def arguments(spec: TrainingSpec) -> dict[str, Any]:
    """The compiled pipeline's parameters; those of the cached steps name neither a run folder nor an MLflow server."""
    training = {
        "estimator": spec.estimator,
        "params": dict(spec.params),
        "space": None if spec.space is None else dict(spec.space),
        "trials": spec.trials,
        "seed": spec.seed,
        "features": spec.features,
        "deadline_s": spec.deadline_s,
        "source_root": spec.source_root,
    }
    tracking = {
        "uri": spec.tracking_uri,
        "experiment": spec.experiment,
        "model_name": spec.model_name,
        "run_name": spec.name,
        "code_version": spec.code_version,
    }
    return {
        "dataset": spec.dataset.to_json(),
        "source_digest": source_digest(spec.dataset),
        "seed": spec.seed,
        "training": json.dumps(training, sort_keys=True),
        "tracking": json.dumps(tracking, sort_keys=True),
        **{f"{step}_code": code_digest(modules) for step, modules in _CODE.items()},
    }


def code_digest(modules: Sequence[str]) -> str:
    """sha256 of a step's sources, of the packages that shape its outputs, and of Python, on which pickles depend."""
    digest = hashlib.sha256(sys.version.encode())
    for module in modules:
        found = importlib.util.find_spec(module)
        assert found is not None, module
        digest.update(Path(str(found.origin)).read_bytes())
    for package in _DATA_PACKAGES:
        digest.update(f"{package} {version(package)}".encode())
    return digest.hexdigest()


def _raise_if_failed(todo: Todo) -> None:
    failed = [task for task in todo.watch.tasks if task.status is Status.FAILED]
    if not failed:
        return
    task, spec = failed[0], todo.spec
    told = todo.errors / f"{task.name}.json"
    if told.is_file():
        raise _error(json.loads(told.read_text(encoding="utf-8")), f"pipeline step {task.name}: ")
    if task.duration_s >= spec.deadline_s:
        raise TrainingFunctionError(
            f"training function {spec.estimator} did not finish within {spec.deadline_s:g} s (step {task.name})",
            hint="raise the deadline, or train on fewer rows.",
        )
    raise TrainingFailed(f"pipeline step {task.name} ended without a word", hint="its output is in the pipeline's log.")


def _error(told: dict[str, str], where: str = "") -> RehearsalError:
    """The error that another process described; one that is not ours becomes TrainingFailed, with its type."""
    kind = getattr(errors, told["type"], None)
    if isinstance(kind, type) and issubclass(kind, RehearsalError):
        return kind(told["message"], hint=told["hint"])
    return TrainingFailed(f"{where}{told['type']}: {told['message']}", hint="its traceback is in the pipeline's log.")


def _result(spec: TrainingSpec, folder: Path, watch: Watch, took_s: float) -> PipelineResult:
    kept = {
        "heldout": shutil.copy(watch.path("evaluate", "scored"), folder / "heldout.parquet"),
        "quarantine": shutil.copy(watch.path("validate", "quarantined"), folder / "quarantine.parquet"),
    }
    validation, best, report, made = (
        json.loads(watch.path(task, output).read_text(encoding="utf-8"))
        for task, output in (
            ("validate", "report"),
            ("search", "best"),
            ("evaluate", "report"),
            ("register", "version"),
        )
    )
    fingerprint = watch.outputs["ingest"]["rows"].metadata["fingerprint"]
    run = PipelineRun(
        name=folder.name,
        compiled=str((folder / "pipeline.yaml").relative_to(spec.run_folder)),
        tasks=watch.tasks,
        trials=[Trial(**each) for each in best["trials"]],
        rows=validation["rows"],
        quarantined_rows=validation["quarantined"],
        quarantine_reasons=validation["reasons"],
        data_fingerprint=fingerprint,
        duration_s=round(took_s, 3),
    )
    model = ModelVersionRecord(
        name=spec.model_name,
        version=made["version"],
        run_id=best["run_id"],
        aliases=["candidate"],
        estimator=spec.estimator,
        params=best["params"],
        metrics=report["metrics"],
        features=made["features"],
        code_version=spec.code_version,
        data_fingerprint=fingerprint,
        intervals=report.get("intervals", {}),
        data={**spec.dataset.described(), "heldout_rows": report.get("rows", 0)},
        pipeline=folder.name,
        plots=report["plots"],
    )
    paths = {name: str(path) for name, path in kept.items()}
    return PipelineResult(run=run, model=model, features=made["features"], target=spec.dataset.target, **paths)


def _new_folder(parent: Path, name: str) -> Path:
    """parent/<name>, numbered if that is taken: one run may train twice under one name."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise TrainingFailed(f"{parent} already holds 1000 pipelines named {name}")
