"""Runs a compiled pipeline in a cluster: a Job for each step, artifacts in the MLflow server's artifact store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.backends.kubernetes.pipeline_files import STORE, Fetch, in_cluster
from harness.backends.kubernetes.pipeline_graph import Ended, Progress, Ready, progress
from harness.backends.kubernetes.pipeline_job import (
    CONTAINER,
    PIPELINE_LABEL,
    Cluster,
    ending,
    finished,
    hopeless,
    job,
    job_name,
    labels,
    refused,
)
from harness.backends.kubernetes.pipeline_launch import ERROR, RESULT, Files, Launch, launch, outputs
from harness.backends.kubernetes.pipeline_spec import PipelineSpec, load
from harness.backends.kubernetes.pipeline_values import State
from harness.clients.artifacts import ArtifactStore
from harness.clients.kubernetes import Kube, Object
from harness.errors import RequestFailed
from harness.lifecycle._watch import Todo, Watch
from harness.lifecycle.pipeline import run_pipeline
from harness.lifecycle.spec import TrainingSpec
from harness.runtime.clock import Deadline
from harness.runtime.job import answer
from harness.runtime.wait import wait

_EVERY_S = 0.25
_TAIL = 20
_PODLESS_S = 5.0
"""Seconds without a Pod after which the Job's events are asked why."""


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): run one training pipeline in a cluster.

    `spec_json`: {"training": TrainingSpec, "cluster": Cluster, "deadline_s": seconds}.
    """
    told = json.loads(spec_json)
    spec = TrainingSpec.from_json(json.dumps(told["training"]))
    run = ClusterRunner(Cluster.from_dict(told["cluster"]), float(told["deadline_s"]))
    result = Path(f"{result_path}.progress")
    answer(result_path, lambda: run_pipeline(spec, result, run).model_dump(mode="json"))


@dataclass(frozen=True)
class ClusterRunner:
    """Runs a training's compiled pipeline in a cluster, instead of kfp.local."""

    cluster: Cluster
    deadline_s: float

    @contextmanager
    def __call__(self, todo: Todo) -> Iterator[None]:
        cluster = self.cluster
        kubeconfig = Path(cluster.kubeconfig) if cluster.kubeconfig else None
        # Runs may share a store and a name: what one pipeline leaves must not meet another's.
        name = f"{todo.folder.name}-{uuid4().hex[:6]}"
        with ArtifactStore(cluster.store) as store, Kube.connect(kubeconfig, cluster.context) as kube:
            values, files = in_cluster(todo, cluster, store)
            todo.watch.fetch = Fetch(store, todo.scratch / "fetched")
            run = PipelineRun(kube, store, cluster, name, todo.watch, todo.folder / "logs", todo.errors, files)
            run.run(load(todo.compiled), values, Deadline.after(self.deadline_s))
            yield


@dataclass
class _Running:
    ready: Ready
    launch: Launch
    began: float
    seen: dict[str, float] = field(default_factory=dict)


@dataclass
class PipelineRun:
    """One run of a compiled pipeline as Jobs; the logs of its Pods go to `logs`, errors of its steps to `errors`."""

    kube: Kube
    store: ArtifactStore
    cluster: Cluster
    name: str
    watch: Watch
    logs: Path
    errors: Path
    files: Files = field(default_factory=Files)

    def run(self, spec: PipelineSpec, values: Mapping[str, Any], deadline: Deadline) -> Progress:
        """Run until the end or the first failure, which the watch knows of; deletes its Jobs."""
        self.logs.mkdir(parents=True, exist_ok=True)
        ended: dict[str, Ended] = {}
        running: dict[str, _Running] = {}
        try:
            while True:
                now = progress(spec, values, ended)
                if State.FAILED in now.states.values():
                    self._cancel(running, ended)
                for ready in now.ready:
                    if ready.id not in running:
                        running[ready.id] = self._start(ready, deadline)
                if not running:
                    return now
                done = wait(
                    lambda: self._finished(running),
                    what=f"pipeline {self.name}: {', '.join(running)}",
                    deadline=deadline,
                    every_s=_EVERY_S,
                )
                for name, result in done.items():
                    ended[name] = result
                    del running[name]
        finally:
            self._delete()

    def _start(self, ready: Ready, deadline: Deadline) -> _Running:
        """Start a task's Job; none for a task whose outputs are there already."""
        todo = launch(ready, f"{STORE}/{self.name}", self.files)
        self.watch.started(ready.id)
        running = _Running(ready, todo, time.monotonic())
        if todo.cached and self._result(todo) is not None:
            return running
        path = f"{STORE}/{self.name}/{ready.id}/launch.json"
        self.store.put_json(path, todo.document)
        document = job(ready, self.cluster, self.name, path, deadline_s=deadline.remaining_s())
        self.kube.apply(document)
        return replace(running, launch=replace(todo, cached=False))

    def _finished(self, running: Mapping[str, _Running]) -> dict[str, Ended] | None:
        """The tasks that have ended since the last look; nothing while the API server does not answer."""
        try:
            return self._look(running) or None
        except RequestFailed as error:
            if error.status is None or error.status >= 500:
                return None
            raise

    def _look(self, running: Mapping[str, _Running]) -> dict[str, Ended]:
        selector = f"{PIPELINE_LABEL}={labels(self.cluster, self.name)[PIPELINE_LABEL]}"
        jobs = {each["metadata"]["name"]: each for each in self._list("batch/v1/Job", selector)}
        pods = self._list("v1/Pod", selector)
        done = {}
        for name, one in running.items():
            if one.launch.cached:
                done[name] = self._passed(one)
                continue
            found = jobs.get(job_name(self.name, name))
            if found is None:
                done[name] = self._failed(one, "its Job was deleted", [])
                continue
            own = [each for each in pods if _owner(each) == found["metadata"]["uid"]]
            succeeded = finished(found)
            if succeeded:
                self._keep_logs(name, own)
                done[name] = self._passed(one)
            elif succeeded is False:
                done[name] = self._failed(one, ending(found, own), own)
            elif reason := self._hopeless(one, found, own):
                done[name] = self._failed(one, reason, own)
        return done

    def _list(self, kind: str, selector: str) -> list[Object]:
        return self.kube.list(kind, self.cluster.namespace, labels=selector)

    def _hopeless(self, one: _Running, found: Object, pods: list[Object]) -> str:
        now = time.monotonic()
        for pod in pods:
            one.seen.setdefault(pod["metadata"]["name"], now)
        if not pods and now - one.began > _PODLESS_S:
            fields = f"involvedObject.name={found['metadata']['name']}"
            events = self.kube.list("v1/Event", self.cluster.namespace, fields=fields)
            return refused(events, found["metadata"]["name"])
        return hopeless(pods, now, one.seen)

    def _passed(self, one: _Running) -> Ended:
        result = self._result(one.launch)
        if result is None:
            return self._failed(one, "its Pod ended well, but left no result in the artifact store", [])
        made = outputs(one.ready, result)
        single = {key: each for key, each in made.artifacts.items() if not isinstance(each, tuple)}
        self.watch.ended(one.ready.id, single, True, time.monotonic() - one.began, cached=one.launch.cached)
        return Ended(True, made)

    def _failed(self, one: _Running, reason: str, pods: list[Object]) -> Ended:
        """Keep why: the step's own error if it told one, else how its Pod ended and the end of its log."""
        log = self._keep_logs(one.ready.id, pods)
        told = self.store.get_json(f"{one.launch.folder}/{ERROR}")
        if told is None:
            tail = "\n".join(log.splitlines()[-_TAIL:])
            message = f"pipeline step {one.ready.id}: {reason}\n{tail}".rstrip()
            told = {"type": "TrainingFailed", "message": message, "hint": f"its whole log is in {self.logs}."}
        (self.errors / f"{one.ready.id.replace('/', '.')}.json").write_text(json.dumps(told), encoding="utf-8")
        self.watch.ended(one.ready.id, {}, False, time.monotonic() - one.began, cached=False)
        return Ended(False)

    def _result(self, todo: Launch) -> Any:
        return self.store.get_json(f"{todo.folder}/{RESULT}")

    def _keep_logs(self, task: str, pods: list[Object]) -> str:
        """The Pods' logs, one after the other, in a file of the run."""
        texts = []
        for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", ""))):
            try:
                texts.append(self.kube.logs(pod["metadata"]["name"], self.cluster.namespace, container=CONTAINER))
            except RequestFailed as error:
                if error.status not in (400, 404):  # 400: its container has not started
                    raise
        text = "\n".join(texts)
        (self.logs / f"{task.replace('/', '.')}.log").write_text(text, encoding="utf-8")
        return text

    def _cancel(self, running: dict[str, _Running], ended: dict[str, Ended]) -> None:
        """After a failure: end what runs beside it, but what cleans up."""
        for name in [name for name, one in running.items() if not one.ready.cleanup]:
            self.kube.delete("batch/v1/Job", job_name(self.name, name), self.cluster.namespace)
            ended[name] = Ended(False)
            del running[name]

    def _delete(self) -> None:
        selector = f"{PIPELINE_LABEL}={labels(self.cluster, self.name)[PIPELINE_LABEL]}"
        self.kube.delete_all("batch/v1/Job", self.cluster.namespace, labels=selector)


def _owner(pod: Object) -> str:
    return next((str(each["uid"]) for each in pod["metadata"].get("ownerReferences", ())), "")
