"""Runs the training pipeline: compiles it, runs the compiled file with kfp.local, and reads what it left.

`main` is the job that a forked worker runs. Importing this module is cheap; running it is not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness import errors
from harness.errors import RehearsalError, TrainingFailed
from harness.lifecycle.dataset import source_digest
from harness.lifecycle.spec import PipelineResult, TrainingSpec
from harness.lifecycle.steps import ERRORS
from harness.report.record import ModelVersionRecord, PipelineRun, PipelineTask, Status, Trial
from harness.runtime.job import answer
from harness.runtime.paths import cache_home

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
    "features": ("harness.lifecycle.steps", "harness.lifecycle.dataset", "harness.lifecycle.features"),
}
_DATA_PACKAGES = ("numpy", "pandas", "pandera", "pyarrow", "scikit-learn", "cloudpickle")


@dataclass
class _Watch:
    """Follows kfp.local task by task, and tells about it as things happen."""

    progress: Path
    own_root: Path
    tasks: list[PipelineTask] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def started(self, name: str) -> None:
        self._tell({"at": time.time(), "task": name, "status": Status.RUNNING.value})

    def ended(self, name: str, outputs: dict[str, Any], succeeded: bool, took_s: float) -> None:
        # A task that ran wrote below this run's own root; what came from the cache lies elsewhere.
        uris = [Path(each.uri) for each in outputs.values()]
        cached = bool(uris) and not any(uri.is_relative_to(self.own_root) for uri in uris)
        detail = next((each.metadata["detail"] for each in outputs.values() if "detail" in each.metadata), "")
        status = Status.PASSED if succeeded else Status.FAILED
        task = PipelineTask(name=name, status=status, cached=cached, duration_s=round(took_s, 4), detail=detail)
        self.tasks.append(task)
        self.outputs[name] = outputs
        self._tell({"at": time.time(), "task": name, **task.model_dump(mode="json", exclude={"name"})})

    def path(self, task: str, output: str) -> Path:
        return Path(self.outputs[task][output].uri)

    def _tell(self, line: dict[str, Any]) -> None:
        with self.progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def run_pipeline(spec: TrainingSpec, progress: Path | None = None) -> PipelineResult:
    """Trains, judges and registers one version; raises the step's own error, DataError or TrainingFailed for instance.

    Appends a JSON line for each start and end of a task to `progress` (default: progress.jsonl in the pipeline's
    folder). Needs a process of its own: kfp.local's configuration is global, and so are the changes to os.environ.
    """
    from harness.lifecycle.kfp_pipeline import compile_to

    started = time.monotonic()
    folder = _new_folder(Path(spec.run_folder) / "pipelines", spec.name)
    compiled = folder / "pipeline.yaml"
    compile_to(compiled)
    own_root = cache_home() / "kfp" / "artifacts" / uuid4().hex
    watch = _Watch(progress or folder / "progress.jsonl", own_root)
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-kfp-") as scratch:
            _run_compiled(compiled, arguments(spec), watch, Path(scratch), spec)
            _raise_if_failed(watch, Path(scratch), spec)
        return _result(spec, folder, watch, time.monotonic() - started)
    finally:
        _keep_only_cached(watch)


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


def _run_compiled(compiled: Path, values: dict[str, Any], watch: _Watch, scratch: Path, spec: TrainingSpec) -> None:
    from kfp import components, local
    from kfp.local.config import LocalExecutionConfig

    pipeline = components.load_component_from_file(str(compiled))
    with _step_environment(scratch, spec.step_python), _watched(watch):
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(watch.own_root),
            workspace_root=str(scratch / "workspace"),
            raise_on_error=False,
            enable_caching=True,
            cache_root=str(cache_home() / "kfp" / "entries"),
        )
        try:
            pipeline(**values)
        finally:
            LocalExecutionConfig.instance = None


@contextmanager
def _watched(watch: _Watch) -> Iterator[None]:
    """kfp.local tells the start and end of a task only in words on standard output, so its task function is wrapped."""
    from kfp.local import status
    from kfp.local.orchestrator import task_executor

    original = task_executor.execute_single_task

    def execute(task_name: str, *args: Any, **kwargs: Any) -> Any:
        watch.started(task_name)
        began = time.monotonic()
        outputs, ended = original(task_name, *args, **kwargs)
        watch.ended(task_name, outputs, ended == status.Status.SUCCESS, time.monotonic() - began)
        return outputs, ended

    task_executor.execute_single_task = execute
    try:
        yield
    finally:
        task_executor.execute_single_task = original


@contextmanager
def _step_environment(scratch: Path, step_python: str | None) -> Iterator[None]:
    """Steps find `python3` first on PATH, write their scratch files below `scratch`, and use one thread each.

    kfp.local puts sys.executable in place of every "python3" in a step's command, unquoted and even inside of its
    arguments. While sys.executable is "python3" itself, that changes nothing; PATH then says which one is meant.
    """
    for name in ("bin", "tmp", "errors", "workspace"):
        (scratch / name).mkdir()
    shim = scratch / "bin" / "python3"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(step_python or sys.executable)} "$@"\n', encoding="utf-8")
    shim.chmod(0o700)
    package_root = str(Path(errors.__file__).parent.parent)
    changes = {
        "PATH": f"{scratch / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH")))),
        "TMPDIR": str(scratch / "tmp"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        ERRORS: str(scratch / "errors"),
    }
    before = {name: os.environ.get(name) for name in changes}
    executable = sys.executable
    os.environ.update(changes)
    sys.executable = "python3"
    try:
        yield
    finally:
        sys.executable = executable
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _raise_if_failed(watch: _Watch, scratch: Path, spec: TrainingSpec) -> None:
    failed = [task for task in watch.tasks if task.status is Status.FAILED]
    if not failed:
        return
    task = failed[0]
    told = scratch / "errors" / f"{task.name}.json"
    if told.is_file():
        raise _error(json.loads(told.read_text(encoding="utf-8")), f"pipeline step {task.name}: ")
    if task.duration_s >= spec.deadline_s:
        raise TrainingFailed(
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


def _result(spec: TrainingSpec, folder: Path, watch: _Watch, took_s: float) -> PipelineResult:
    kept = {
        "heldout": shutil.copy(watch.path("evaluate", "scored"), folder / "heldout.parquet"),
        "reference": shutil.copy(watch.path("evaluate", "reference"), folder / "reference.parquet"),
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
        plots=report["plots"],
    )
    paths = {name: str(path) for name, path in kept.items()}
    return PipelineResult(run=run, model=model, features=made["features"], target=spec.dataset.target, **paths)


def _keep_only_cached(watch: _Watch) -> None:
    """Leaves in the shared cache only what a later run can hit; the rest lives in the run folder and in MLflow."""
    from harness.lifecycle.kfp_pipeline import CACHED

    kept = {
        Path(each.uri).parent
        for name in CACHED
        for each in watch.outputs.get(name, {}).values()
        if Path(each.uri).is_relative_to(watch.own_root)
    }
    for folder in watch.own_root.glob("*/*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    if not kept:
        shutil.rmtree(watch.own_root, ignore_errors=True)


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
