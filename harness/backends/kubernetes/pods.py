"""What the Pods of a service say of its revisions: who is ready, who lives, and what cannot become ready; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.backends.kubernetes.applied import CONTENT, REVISION_LABEL
from harness.backends.status import ReplicaStatus
from harness.components.model_server import CANNOT_LOAD

MAX_RESTARTS = 5
AGENT = "agent"
"""KServe's name of the container that logs payloads."""
HOPELESS = {
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
}
"""Reasons of a waiting container that no further second changes."""

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """Why a Pod is not ready; `final` if another try is of no use."""

    reason: str
    message: str
    final: bool


@dataclass(frozen=True)
class Replica:
    """One Pod of a revision, without those that are ending; `agent`: KServe's agent is in it."""

    name: str
    revision: str
    content: str
    ready: bool
    agent: bool = False
    address: str = ""
    phase: str = ""
    restarts: int = 0
    failure: Failure | None = None


def replicas_of(pods: Iterable[Object]) -> list[Replica]:
    """The Pods of our revisions that are not being deleted, oldest first."""
    kept = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    kept.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
    return [_replica(pod) for pod in kept if REVISION_LABEL in pod["metadata"].get("labels", {})]


def _replica(pod: Object) -> Replica:
    metadata, status = pod["metadata"], pod.get("status", {})
    containers = list(_containers(status))
    return Replica(
        name=metadata["name"],
        revision=metadata["labels"][REVISION_LABEL],
        content=metadata.get("annotations", {}).get(CONTENT, ""),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])),
        agent=any(found["name"] == AGENT for found in pod.get("spec", {}).get("containers", ())),
        address=status.get("podIP", ""),
        phase=status.get("phase", "Pending"),
        restarts=sum(int(found.get("restartCount", 0)) for found in containers),
        failure=_failure(status, containers),
    )


def _containers(status: Object) -> Iterator[Object]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])


def _failure(status: Object, containers: Sequence[Object]) -> Failure | None:
    """The first thing that keeps a Pod from being ready."""
    for found in containers:
        if failure := _container_failure(found):
            return failure
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Failure(condition.get("reason", "Unschedulable"), condition.get("message", ""), final=False)
    return None


def _container_failure(found: Object) -> Failure | None:
    if found.get("ready"):
        return None
    state, last = found.get("state", {}), found.get("lastState", {})
    ended = state.get("terminated") or last.get("terminated") or {}
    waiting = state.get("waiting", {})
    if waiting.get("reason") in HOPELESS:
        return Failure(waiting["reason"], f"{found['name']}: {waiting.get('message', '')}", final=True)
    code = ended.get("exitCode", 0)
    if not code:
        return None
    message = _last_line(ended.get("message", "")) or f"{found['name']} ended with exit code {code}"
    if code == CANNOT_LOAD:
        return Failure("ModelLoadFailed", message, final=True)
    restarts = int(found.get("restartCount", 0))
    if restarts > MAX_RESTARTS:
        return Failure("CrashLoopBackOff", f"ended {restarts} times in a row, last: {message}", final=True)
    return Failure("Restarting", message, final=False)


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def ready_revisions(replicas: Sequence[Replica], contents: Mapping[str, tuple[str, int]]) -> frozenset[str]:
    """Those of which so many replicas of the wanted content are ready; `contents`: revision -> (digest, replicas)."""
    return frozenset(
        name
        for name, (digest, count) in contents.items()
        if sum(r.ready and r.revision == name and r.content == digest for r in replicas) >= count
    )


def alive_revisions(replicas: Sequence[Replica]) -> frozenset[str]:
    """Those with at least one ready replica, of whatever content."""
    return frozenset(replica.revision for replica in replicas if replica.ready)


def failure_of(replicas: Sequence[Replica], revision: str, digest: str) -> Failure | None:
    """Why a revision's wanted content is not ready; what is final first, else the youngest replica's word."""
    found = [r.failure for r in replicas if r.revision == revision and r.content == digest and r.failure]
    return next((failure for failure in found if failure.final), found[-1] if found else None)


def replica_statuses(replicas: Sequence[Replica]) -> tuple[ReplicaStatus, ...]:
    """The Pods as replicas; a Pod has a name where a process has a number."""
    return tuple(
        ReplicaStatus(
            revision=replica.revision,
            pid=0,
            state="ready" if replica.ready else "starting",
            address=replica.address,
            log=replica.name,
        )
        for replica in replicas
    )
