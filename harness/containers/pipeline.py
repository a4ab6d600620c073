"""The training pipeline by kfp.local's DockerRunner: a container for each step, whose environment is the image's.

What a step reads and writes has the same path inside as here: the outputs, what the cache has, the user's data and
sources (these two read-only). It reaches MLflow over the run's network, and nothing of it is published.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from docker import DockerClient, from_env
from docker.models.containers import Container
from docker.types import Mount

from harness import __version__
from harness.components.component import Limits
from harness.components.pipeline_step import ERRORS, STEP_ENV
from harness.errors import StepFailed
from harness.lifecycle._kfp_local import artifacts, by_kfp
from harness.lifecycle._watch import Todo
from harness.lifecycle.dataset import RAND
from harness.lifecycle.pipeline import arguments, run_pipeline
from harness.lifecycle.spec import TrainingSpec
from harness.lifecycle.steps import describe
from harness.report.record import Status
from harness.runtime.interrupts import held, sigterm_interrupts
from harness.runtime.job import answer

IMAGE = f"rehearsal/pipeline:{__version__}"
LIMITS = Limits(memory_mib=2048, cpus=2.0)
_MIB = 1024**2


@dataclass(frozen=True)
class Place:
    """Where steps run; crosses a process border as JSON.

    network: the run's; tracking_uri: MLflow, as it is reached there; labels: whose the containers are; memory_mib: the
    most that a step may use.
    """

    network: str
    tracking_uri: str
    labels: Mapping[str, str]
    memory_mib: int = LIMITS.memory_mib

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): run one training pipeline in containers.

    `spec_json`: {"training": TrainingSpec, "cluster": Place}.
    """
    told = json.loads(spec_json)
    spec = TrainingSpec.from_json(json.dumps(told["training"]))
    run = DockerSteps(Place(**told["cluster"]))
    progress = Path(f"{result_path}.progress")
    with sigterm_interrupts():  # so that the step's container goes too
        answer(result_path, lambda: run_pipeline(spec, progress, run).model_dump(mode="json"))


@dataclass
class DockerSteps:
    """Runs a training's compiled pipeline with a container for each step."""

    place: Place
    _reason: str = field(default="", init=False)

    @contextmanager
    def __call__(self, todo: Todo) -> Iterator[None]:
        from kfp import local

        inside = replace(todo.spec, tracking_uri=self.place.tracking_uri)
        values = {**todo.arguments, "tracking": arguments(inside)["tracking"]}
        runner = local.DockerRunner(**run_args(self.place, todo))
        with by_kfp(replace(todo, arguments=values), runner, f"entries-{_made_of(IMAGE)}", self._steps(todo)):
            self._tell(todo)
            yield

    @contextmanager
    def _steps(self, todo: Todo) -> Iterator[None]:
        """kfp has Docker remove each container by itself, and takes one that is gone for one that ended well.

        It also pulls what it does not find; here the image has been asked for before.
        """
        from kfp.local import docker_task_handler

        (todo.scratch / "workspace").mkdir()
        original = docker_task_handler.run_docker_container
        docker_task_handler.run_docker_container = self._run_step
        try:
            yield
        finally:
            docker_task_handler.run_docker_container = original

    def _run_step(self, client: DockerClient, image: str, command: list[str], volumes: Any, **args: Any) -> int:
        container: Container | None = None
        try:
            with held():  # else the engine may have made one that nobody knows of
                container = client.containers.create(image, command=command, volumes=volumes, **args)
            return self._code(container)
        finally:
            if container is not None:
                with held():
                    container.remove(force=True)

    def _code(self, container: Container) -> int:
        """Run a container to its end, with its log on our output; its exit code."""
        container.start()
        for line in container.logs(stream=True, follow=True):
            print(line.decode(errors="replace"), end="")
        code = int(container.wait()["StatusCode"])
        container.reload()
        if container.attrs["State"]["OOMKilled"]:
            self._reason = f"it was out of memory: a step may use {self.place.memory_mib} MiB"
        elif code:
            self._reason = f"its container ended with exit code {code}"
        return code

    def _tell(self, todo: Todo) -> None:
        """Say how a step's container ended where the step itself could not."""
        for task in todo.watch.tasks:
            told = todo.errors / f"{task.name}.json"
            if task.status is Status.FAILED and self._reason and not told.exists():
                told.write_text(json.dumps(describe(StepFailed(self._reason))), encoding="utf-8")


def _made_of(image: str) -> str:
    """What tells one state of the image from another: a step that was cached in one is not that of another."""
    client = from_env()
    try:
        return str(client.images.get(image).id).removeprefix("sha256:")[:16]
    finally:
        client.close()


def run_args(place: Place, todo: Todo) -> dict[str, Any]:
    """What Docker is told of every step, as `containers.create` takes it."""
    memory = place.memory_mib * _MIB
    return {
        "network": place.network,
        "labels": dict(place.labels),
        "environment": {**STEP_ENV, ERRORS: str(todo.errors)},
        "mounts": mounts(todo),
        # Whoever runs the pipeline: what a step leaves is theirs, and what they may read a step may read.
        "user": f"{os.geteuid()}:{os.getegid()}",
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(min(LIMITS.cpus, os.cpu_count() or 1) * 1e9),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": ""},
    }


def mounts(todo: Todo) -> list[Mount]:
    """What a step sees of this machine beside its pipeline's outputs; all but the folder for its error read-only."""
    spec = todo.spec
    seen = [artifacts()]
    seen += [Path(spec.dataset.source)] if spec.dataset.source != RAND else []
    seen += [Path(spec.source_root)] if spec.source_root else []
    bound = [
        Mount(str(path), str(path), type="bind", read_only=True) for path in dict.fromkeys(map(Path.resolve, seen))
    ]
    return [*bound, Mount(str(todo.errors), str(todo.errors), type="bind")]
