"""Runs a whole training as one TrainJob of Kubeflow Trainer, driven by the kubeflow SDK."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.backends.kubernetes.pipeline_files import STORE, Fetch, in_cluster
from harness.backends.kubernetes.pipeline_job import COMPONENT, Cluster, hopeless
from harness.backends.kubernetes.pipeline_launch import ERROR, RESULT
from harness.backends.kubernetes.pipeline_values import Artifact
from harness.backends.kubernetes.world import run_labels
from harness.clients.artifacts import ArtifactStore
from harness.clients.kubernetes import Kube, Object
from harness.errors import PlatformError, RequestFailed, TrainingFailed
from harness.lifecycle._watch import Todo
from harness.lifecycle.pipeline import run_pipeline
from harness.lifecycle.sequence import Sequence
from harness.lifecycle.spec import TrainingSpec
from harness.runtime.clock import Deadline
from harness.runtime.job import answer
from harness.runtime.wait import wait

KIND = "trainer.kubeflow.org/v1alpha1/TrainJob"
RUNTIME = "rehearsal"
"""The ClusterTrainingRuntime of manifests/system/trainer-runtime."""

_JOBSET_LABEL = "jobset.sigs.k8s.io/jobset-name"
_EVERY_S = 0.5
_TAIL = 20


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): train one version by a TrainJob.

    `spec_json`: {"training": TrainingSpec, "cluster": Cluster, "deadline_s": seconds}.
    """
    told = json.loads(spec_json)
    spec = TrainingSpec.from_json(json.dumps(told["training"]))
    run = TrainJobRunner(Cluster.from_dict(told["cluster"]), float(told["deadline_s"]))
    progress = Path(f"{result_path}.progress")
    answer(result_path, lambda: run_pipeline(spec, progress, run).model_dump(mode="json"))


def train(store: str, path: str) -> None:
    """What the TrainJob runs: the SDK takes this function's source, so that it stands alone."""
    from harness.components.training_job import main

    main(store, path)


@dataclass(frozen=True)
class TrainJobRunner:
    """Runs all of a training's steps in one TrainJob, instead of kfp.local."""

    cluster: Cluster
    deadline_s: float

    @contextmanager
    def __call__(self, todo: Todo) -> Iterator[None]:
        cluster = self.cluster
        kubeconfig = Path(cluster.kubeconfig) if cluster.kubeconfig else None
        folder = f"{STORE}/{todo.folder.name}-{uuid4().hex[:6]}"
        with ArtifactStore(cluster.store) as store, Kube.connect(kubeconfig, cluster.context) as kube:
            values, files = in_cluster(todo, cluster, store)
            path = f"{folder}/launch.json"
            fetched = {"downloads": list(files.plain.items()), "archives": list(files.archives.items())}
            store.put_json(path, {"arguments": values, "folder": folder, **fetched})
            todo.watch.fetch = Fetch(store, todo.scratch / "fetched")
            name = _submit(cluster, path)
            try:
                _TrainJob(kube, store, cluster, name, folder, todo).follow(Deadline.after(self.deadline_s))
            finally:
                kube.delete(KIND, name, cluster.namespace)
            yield


def _submit(cluster: Cluster, path: str) -> str:
    """Make the TrainJob by the SDK; its name. Errors: PlatformError for what the API server refuses."""
    from kubeflow.common.types import KubernetesBackendConfig
    from kubeflow.trainer import CustomTrainer, TrainerClient
    from kubeflow.trainer.options import Labels

    logging.getLogger("kubeflow").setLevel(logging.ERROR)  # it warns of a namespace that it may not read
    config = KubernetesBackendConfig(
        namespace=cluster.namespace, config_file=cluster.kubeconfig, context=cluster.context
    )
    try:
        return str(
            TrainerClient(config).train(
                runtime=RUNTIME,
                trainer=CustomTrainer(func=train, func_args={"store": cluster.store_in_pods, "path": path}),
                options=[Labels({**run_labels(cluster.run_id), COMPONENT: "pipeline-step"})],
            )
        )
    except (RuntimeError, TimeoutError) as error:
        cause = " ".join(str(error.__cause__ or error).split())[:500]
        raise PlatformError(
            f"TrainJob: {error}: {cause}", hint="is Kubeflow Trainer installed, with the runtime `rehearsal`?"
        ) from error


@dataclass
class _TrainJob:
    """A TrainJob that runs; its steps are told as they leave their results in the store."""

    kube: Kube
    store: ArtifactStore
    cluster: Cluster
    name: str
    folder: str
    todo: Todo
    _seen: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0

    def follow(self, deadline: Deadline) -> None:
        """Tell the steps until the TrainJob ends; a failed step is told as such, with its error."""
        self._began = time.monotonic()
        left = list(Sequence({}, self.todo.scratch).steps())
        self.todo.watch.started(left[0])
        ended = wait(
            lambda: self._look(left),
            what=f"TrainJob {self.name}",
            deadline=deadline,
            state=self._state,
            every_s=_EVERY_S,
        )
        self._tell(left)
        log = self._keep_log()
        if left:
            self._failed(left[0], ended, log)

    def _look(self, left: list[str]) -> str:
        """How the TrainJob ended; empty while it goes on, or while the API server does not answer."""
        try:
            found = self.kube.get(KIND, self.name, self.cluster.namespace)
            self._tell(left)
            now = time.monotonic()
            pods = self._pods()
            for pod in pods:
                self._seen.setdefault(pod["metadata"]["name"], now)
            return ending(found) or hopeless(pods, now, self._seen)
        except RequestFailed as error:
            if error.status is None or error.status >= 500:
                return ""
            raise

    def _tell(self, left: list[str]) -> None:
        while left:
            result = self.store.get_json(f"{self.folder}/{left[0]}/{RESULT}")
            if result is None:
                return
            made = {key: Artifact(key, each["uri"], each["metadata"]) for key, each in result["artifacts"].items()}
            now = time.monotonic()
            self.todo.watch.ended(left.pop(0), made, True, now - self._began, cached=False)
            self._began = now
            if left:
                self.todo.watch.started(left[0])

    def _failed(self, task: str, reason: str, log: str) -> None:
        told: dict[str, Any] | None = self.store.get_json(f"{self.folder}/{ERROR}")
        if told is None:
            tail = "\n".join(log.splitlines()[-_TAIL:])
            message = f"pipeline step {task}: TrainJob {self.name}: {reason}\n{tail}".rstrip()
            told = {"type": TrainingFailed.__name__, "message": message, "hint": "its log is in the pipeline's folder."}
        (self.todo.errors / f"{task}.json").write_text(json.dumps(told), encoding="utf-8")
        self.todo.watch.ended(task, {}, False, time.monotonic() - self._began, cached=False)

    def _pods(self) -> list[Object]:
        return self.kube.list("v1/Pod", self.cluster.namespace, labels=f"{_JOBSET_LABEL}={self.name}")

    def _state(self) -> str:
        phases = [f"{pod['metadata']['name']}: {pod.get('status', {}).get('phase')}" for pod in self._pods()]
        return ", ".join(phases) or "no Pod yet"

    def _keep_log(self) -> str:
        folder = self.todo.folder / "logs"
        folder.mkdir(exist_ok=True)
        texts = []
        for pod in self._pods():
            try:
                texts.append(self.kube.logs(pod["metadata"]["name"], self.cluster.namespace))
            except RequestFailed as error:
                if error.status not in (400, 404):  # 400: its container has not started
                    raise
        text = "\n".join(texts)
        (folder / "trainjob.log").write_text(text, encoding="utf-8")
        return text


def ending(found: Object) -> str:
    """How a TrainJob ended, in words; empty while it goes on."""
    for condition in found.get("status", {}).get("conditions", ()):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return f"{condition['type']}: {condition.get('message', '')}".rstrip(": ")
    return ""
