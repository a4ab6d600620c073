"""kfp.local as this project runs it: watched task by task, in its own environment, with a cache that runs share."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness import errors
from harness.lifecycle._watch import Todo, Watch
from harness.lifecycle.steps import ERRORS
from harness.runtime.paths import cache_home


@contextmanager
def local_runner(todo: Todo) -> Iterator[None]:
    """Run a compiled pipeline with a process of this machine for each step; otherwise as `by_kfp`."""
    from kfp import local

    environment = _step_environment(todo.scratch, todo.spec.step_python)
    with by_kfp(todo, local.SubprocessRunner(use_venv=False), "entries", environment):
        yield


def artifacts() -> Path:
    """What pipelines make, a folder for each; those of cached steps stay."""
    return cache_home() / "kfp" / "artifacts"


@contextmanager
def by_kfp(todo: Todo, runner: Any, entries: str, environment: AbstractContextManager[None]) -> Iterator[None]:
    """Run a compiled pipeline; a task that fails ends it, and `todo.watch` knows which; the body reads the outputs.

    `runner` is kfp.local's, in effect within `environment`; cached steps are found below the name `entries`.
    """
    own_root = artifacts() / uuid4().hex
    try:
        with environment, _watched(todo.watch, own_root):
            _run(todo, runner, own_root, entries)
        yield
    finally:
        _keep_only_cached(todo.watch, own_root)


def _run(todo: Todo, runner: Any, own_root: Path, entries: str) -> None:
    from kfp import components, local
    from kfp.local.config import LocalExecutionConfig

    own_root.mkdir(parents=True)
    pipeline = components.load_component_from_file(str(todo.compiled))
    local.init(
        runner,
        pipeline_root=str(own_root),
        workspace_root=str(todo.scratch / "workspace"),
        raise_on_error=False,
        enable_caching=True,
        cache_root=str(cache_home() / "kfp" / entries),
    )
    try:
        pipeline(**todo.arguments)
    finally:
        LocalExecutionConfig.instance = None


@contextmanager
def _watched(watch: Watch, own_root: Path) -> Iterator[None]:
    """kfp.local tells the start and end of a task only in words on standard output, so its task function is wrapped."""
    from kfp.local import status
    from kfp.local.orchestrator import task_executor

    original = task_executor.execute_single_task

    def execute(task_name: str, *args: Any, **kwargs: Any) -> Any:
        watch.started(task_name)
        began = time.monotonic()
        outputs, ended = original(task_name, *args, **kwargs)
        # A task that ran wrote below this run's own root; what came from the cache lies elsewhere.
        uris = [Path(each.uri) for each in outputs.values()]
        cached = bool(uris) and not any(uri.is_relative_to(own_root) for uri in uris)
        watch.ended(task_name, outputs, ended == status.Status.SUCCESS, time.monotonic() - began, cached=cached)
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
    for name in ("bin", "tmp", "workspace"):
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


def _keep_only_cached(watch: Watch, own_root: Path) -> None:
    """Leaves in the shared cache only what a later run can hit; the rest lives in the run folder and in MLflow."""
    from harness.lifecycle.kfp_pipeline import CACHED

    kept = {
        Path(each.uri).parent
        for name in CACHED
        for each in watch.outputs.get(name, {}).values()
        if Path(each.uri).is_relative_to(own_root)
    }
    for folder in own_root.glob("*/*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    if not kept:
        shutil.rmtree(own_root, ignore_errors=True)
