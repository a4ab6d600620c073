"""kfp.local as this project runs it: watched task by task, in its own environment, with a cache that runs share."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import errors
from harness.lifecycle.steps import ERRORS
from harness.report.record import PipelineTask, Status
from harness.runtime.paths import cache_home


@dataclass
class Watch:
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


def run_compiled(compiled: Path, values: dict[str, Any], watch: Watch, scratch: Path, step_python: str | None) -> None:
    """Run a compiled pipeline; a task that fails ends it, and `watch` knows which."""
    from kfp import components, local
    from kfp.local.config import LocalExecutionConfig

    pipeline = components.load_component_from_file(str(compiled))
    with _step_environment(scratch, step_python), _watched(watch):
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
def _watched(watch: Watch) -> Iterator[None]:
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
