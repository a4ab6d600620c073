"""Kubernetes objects as an API server answers them, in the states that bring a rollout down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from harness.backends.kubernetes.diagnostics.snapshot import EVENT, POD, Snapshot

BEGAN = 1_795_478_400.0
NAMESPACE = "production-1a2b3c4d"
POD_NAME = "high-utiliser-v2-predictor-6f7d9-x8k2p"
Object = dict[str, Any]


def at(seconds: float) -> str:
    """A time so many seconds after the story's beginning, as Kubernetes writes it."""
    return datetime.fromtimestamp(BEGAN + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def named(kind: str, name: str, namespace: str = NAMESPACE, **fields: Any) -> Object:
    """An object of a kind, made at the story's beginning."""
    where = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "metadata": {"name": name, "creationTimestamp": at(0), **where}, **fields}


def condition(kind: str, status: str, reason: str = "", message: str = "", since: float = 5.0) -> Object:
    told = {"type": kind, "status": status, "lastTransitionTime": at(since), "reason": reason, "message": message}
    return {key: value for key, value in told.items() if value}


def event(
    reason: str,
    message: str,
    *,
    kind: str = "Pod",
    name: str = POD_NAME,
    seen: float = 5.0,
    last: float | None = None,
    sort: str = "Warning",
    namespace: str = NAMESPACE,
) -> Object:
    """An event first seen `seen` seconds after the beginning."""
    about = {"kind": kind, "name": name, "namespace": namespace}
    times = {"firstTimestamp": at(seen), "lastTimestamp": at(seen if last is None else last)}
    return (
        named("Event", f"{name}.17", namespace, involvedObject=about, reason=reason, message=message, type=sort) | times
    )


def pod(*containers: Object, phase: str = "Running", spec: Object | None = None, **status: Any) -> Object:
    """A Pod with these containers' statuses."""
    every = [{"name": each["name"], "image": each["image"]} for each in containers]
    body = {"nodeName": "rehearsal-worker", "containers": every, **(spec or {})}
    return named("Pod", POD_NAME, spec=body, status={"phase": phase, "containerStatuses": list(containers), **status})


def container(name: str = "kserve-container", *, restarts: int = 0, ready: bool = False, **states: Any) -> Object:
    """A container's status; `states` are its state and lastState."""
    image = "rehearsal/model-server:1.0"
    return {"name": name, "image": image, "restartCount": restarts, "ready": ready, **states}


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "", when: float = 8.0) -> Object:
    told = {"exitCode": code, "reason": reason, "startedAt": at(when - 3), "finishedAt": at(when), "message": message}
    return {"terminated": told}


def seen(**objects: list[Object]) -> Snapshot:
    """A snapshot a minute and a half after the beginning; keywords: pods, events, others by kind in `more`."""
    kinds = {"pods": POD, "events": EVENT}
    return Snapshot(at=BEGAN + 90, objects={kinds.get(name, name): found for name, found in objects.items()})
