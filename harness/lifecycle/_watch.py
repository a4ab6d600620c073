"""Follows a pipeline task by task, whoever runs it, and tells about it as things happen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.lifecycle.spec import TrainingSpec
from harness.report.record import PipelineTask, Status


class Output(Protocol):
    """An artifact that a task made, where it lies and what its maker says of it."""

    @property
    def uri(self) -> str: ...

    @property
    def metadata(self) -> Mapping[str, Any]: ...


@dataclass
class Watch:
    """The tasks so far; `fetch` gives the file of an artifact's URI."""

    progress: Path
    fetch: Callable[[str], Path] = Path
    tasks: list[PipelineTask] = field(default_factory=list)
    outputs: dict[str, Mapping[str, Output]] = field(default_factory=dict)

    def started(self, name: str) -> None:
        self._tell({"at": time.time(), "task": name, "status": Status.RUNNING.value})

    def ended(self, name: str, outputs: Mapping[str, Output], succeeded: bool, took_s: float, *, cached: bool) -> None:
        detail = next((each.metadata["detail"] for each in outputs.values() if "detail" in each.metadata), "")
        status = Status.PASSED if succeeded else Status.FAILED
        task = PipelineTask(name=name, status=status, cached=cached, duration_s=round(took_s, 4), detail=detail)
        self.tasks.append(task)
        self.outputs[name] = outputs
        self._tell({"at": time.time(), "task": name, **task.model_dump(mode="json", exclude={"name"})})

    def path(self, task: str, output: str) -> Path:
        return self.fetch(self.outputs[task][output].uri)

    def _tell(self, line: dict[str, Any]) -> None:
        with self.progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Todo:
    """A compiled pipeline that is to be run; what it leaves goes to `folder`.

    scratch: gone afterwards; a failed step's error is expected there as errors/<task>.json (see steps.describe).
    """

    compiled: Path
    spec: TrainingSpec
    arguments: Mapping[str, Any]
    folder: Path
    scratch: Path
    watch: Watch

    @property
    def errors(self) -> Path:
        return self.scratch / "errors"
