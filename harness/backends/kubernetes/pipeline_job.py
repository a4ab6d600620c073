"""A pipeline step as a Kubernetes Job, and what the states of its Pods say: pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from harness.backends.assignment import PREFIX
from harness.backends.kubernetes.pipeline_graph import Ready
from harness.backends.kubernetes.pipeline_launch import IN_POD
from harness.backends.kubernetes.registry import in_registry
from harness.backends.kubernetes.world import run_labels
from harness.components.pipeline_step import STEP_ENV

COMPONENT = "app.kubernetes.io/component"
PIPELINE_LABEL = f"{PREFIX}pipeline"
TASK_ANNOTATION = f"{PREFIX}task"
PIPELINES = "staging"
"""The namespace, as scenarios call it, that pipelines run in."""
CONTAINER = "step"
USER = 65532
UNSCHEDULABLE_S = 60.0
"""Seconds that a Pod may find no room before it is given up: others may be ending."""

_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
_LIMITS = {"cpu": "2", "memory": "2Gi"}
_SPACE = "2Gi"
_NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_NO_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}


@dataclass(frozen=True)
class Cluster:
    """Where a pipeline's steps run; crosses a process border as JSON.

    store: the MLflow server from here; store_in_pods: the same one from the steps' Pods.
    kubeconfig, context: how the API server is reached from here.
    image_prefix: the registry that the cluster has our images from; "" for their own names.
    """

    namespace: str
    run_id: str
    store: str
    store_in_pods: str
    context: str | None = None
    kubeconfig: str | None = None
    image_prefix: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


def job_name(pipeline: str, task: str) -> str:
    """A name of at most 63 characters that no other task has."""
    digest = hashlib.sha256(f"{pipeline}/{task}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{pipeline}-{task}".lower()).strip("-")[:50].rstrip("-")
    return f"{readable}-{digest}"


def labels(cluster: Cluster, pipeline: str) -> dict[str, str]:
    """The labels of a pipeline's Jobs and Pods."""
    known = {COMPONENT: "pipeline-step", PIPELINE_LABEL: job_name(pipeline, "")}
    return {**run_labels(cluster.run_id), **known}


def job(ready: Ready, cluster: Cluster, pipeline: str, launch: str, *, deadline_s: float) -> dict[str, Any]:
    """The Job of a task; `launch` is the path in the artifact store of what its Pod is told."""
    container = ready.component.container
    assert container is not None, ready.id
    known = labels(cluster, pipeline)
    notes = {TASK_ANNOTATION: ready.id}
    limits = {**_LIMITS, **container.limits}
    step = {
        "name": CONTAINER,
        "image": in_registry(container.image, cluster.image_prefix),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-P", "-m", "harness.components.pipeline_step"],
        "args": [cluster.store_in_pods, launch],
        "env": [{"name": name, "value": value} for name, value in STEP_ENV.items()],
        "workingDir": IN_POD,
        "resources": {"requests": {**_within(_REQUESTS, container.limits), **container.requests}, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "work", "mountPath": IN_POD}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [step],
        "volumes": [{"name": name, "emptyDir": {"sizeLimit": _SPACE}} for name in ("work", "tmp")],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(pipeline, ready.id),
            "namespace": cluster.namespace,
            "labels": known,
            "annotations": notes,
        },
        "spec": {
            "backoffLimit": ready.task.retries,
            "activeDeadlineSeconds": max(1, int(deadline_s)),
            "template": {"metadata": {"labels": known, "annotations": notes}, "spec": pod},
        },
    }


def _within(requests: Mapping[str, str], limits: Mapping[str, str]) -> dict[str, str]:
    """A component with a limit of its own asks for that much: a request may not be above it."""
    return {**requests, **{key: value for key, value in limits.items() if key in requests}}


def finished(found: Mapping[str, Any]) -> bool | None:
    """Whether a Job has succeeded; None while it goes on."""
    for condition in found.get("status", {}).get("conditions", ()):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return bool(condition["type"] == "Complete")
    return None


def hopeless(pods: Iterable[Mapping[str, Any]], now: float, created: Mapping[str, float]) -> str:
    """Why Pods that have not started never will, such as a missing image; empty if they may.

    `created`: when each Pod, by its name, was first seen, on the clock of `now`, in seconds.
    """
    for pod in pods:
        status = pod.get("status", {})
        for container in status.get("containerStatuses", ()):
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") in _NO_IMAGE | _NO_START:
                return f"{waiting['reason']}: {waiting.get('message', container['image'])}"
        for condition in status.get("conditions", ()):
            lost = condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
            if lost and now - created[pod["metadata"]["name"]] > UNSCHEDULABLE_S:
                return f"Unschedulable: {condition.get('message', '')}"
    return ""


def refused(events: Sequence[Mapping[str, Any]], name: str) -> str:
    """Why the cluster makes no Pods for a Job, such as an exhausted quota; empty if it does."""
    for event in events:
        if event.get("reason") == "FailedCreate" and event.get("involvedObject", {}).get("name") == name:
            return str(event.get("message", "FailedCreate"))
    return ""


def ending(found: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """How a failed Job's last Pod ended, in words."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")), reverse=True):
        name, status = pod["metadata"]["name"], pod.get("status", {})
        for container in status.get("containerStatuses", ()):
            if ended := container.get("state", {}).get("terminated"):
                return f"Pod {name} ended with exit code {ended['exitCode']} ({ended.get('reason', 'Error')})"
        if status.get("reason"):
            return f"Pod {name}: {status['reason']}: {status.get('message', '')}".rstrip(": ")
    failed = [each for each in found.get("status", {}).get("conditions", ()) if each["type"] == "Failed"]
    return (
        f"Job {found['metadata']['name']}: {failed[0].get('message', 'failed')}" if failed else "no Pod is left of it"
    )
