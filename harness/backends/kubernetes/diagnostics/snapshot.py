"""What was seen of a cluster at one moment, and how its objects are read; nothing here talks to a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]

POD = "v1/Pod"
EVENT = "v1/Event"
NODE = "v1/Node"
QUOTA = "v1/ResourceQuota"
JOB = "batch/v1/Job"
ISVC = "serving.kserve.io/v1beta1/InferenceService"
HPA = "autoscaling/v2/HorizontalPodAutoscaler"
GATEWAY = "gateway.networking.k8s.io/v1/Gateway"
ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"
CLAIM = "v1/PersistentVolumeClaim"
ENDPOINTS = "discovery.k8s.io/v1/EndpointSlice"
_ADMISSION = "admissionregistration.k8s.io/v1"
WEBHOOKS = (f"{_ADMISSION}/ValidatingWebhookConfiguration", f"{_ADMISSION}/MutatingWebhookConfiguration")

NAMESPACED = (
    POD, EVENT, JOB, ISVC, "apps/v1/Deployment", "apps/v1/ReplicaSet", "apps/v1/StatefulSet", "apps/v1/DaemonSet", HPA,
    QUOTA, "v1/LimitRange", GATEWAY, ROUTE, CLAIM, "v1/Service", ENDPOINTS,
    "policy/v1/PodDisruptionBudget", "networking.k8s.io/v1/NetworkPolicy", "trainer.kubeflow.org/v1alpha1/TrainJob",
)  # fmt: skip
"""What is read of a namespace: no Secrets, and no ConfigMaps, which may hold as much."""

SHARED = (POD, EVENT, "apps/v1/Deployment", "apps/v1/DaemonSet", QUOTA, GATEWAY, ENDPOINTS)
"""What is read of a namespace whose parts serve several runs."""


@dataclass(frozen=True)
class Snapshot:
    """Objects by kind ("v1/Pod"), seen at Unix second `at`; what happened before `since` is none of this run's.

    `kubectl` is how the reader's own command begins, with the context. `last_words` are the last line of the log of a
    container that ended: (namespace, "pod/name", container) -> line.
    """

    at: float
    objects: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    since: float = 0.0
    kubectl: str = "kubectl"
    last_words: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def of(self, kind: str) -> Sequence[Object]:
        """The objects of a kind."""
        return self.objects.get(kind, ())

    def commands(self, namespace: str) -> str:
        """How a kubectl command about a namespace begins; "" for what belongs to the whole cluster."""
        return f"{self.kubectl} -n {namespace}" if namespace else self.kubectl

    def events_of(self, found: Object) -> list[Object]:
        """The events about an object, the earliest first."""
        mine = [event for event in self.of(EVENT) if _is_about(event, found)]
        return sorted(mine, key=happened_at)


def name_of(found: Object) -> str:
    return str(found.get("metadata", {}).get("name", ""))


def namespace_of(found: Object) -> str:
    return str(found.get("metadata", {}).get("namespace", ""))


def reference(found: Object) -> str:
    """The object as kubectl takes it: "pod/iris-v2"."""
    return f"{str(found.get('kind', '')).lower()}/{name_of(found)}"


def seconds(text: object, default: float = 0.0) -> float:
    """An RFC 3339 time in Unix seconds."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return default


def created_at(found: Object) -> float:
    return seconds(found.get("metadata", {}).get("creationTimestamp"))


def happened_at(event: Object) -> float:
    """When an event was first seen."""
    times = (event.get("firstTimestamp"), event.get("eventTime"), event.get("lastTimestamp"))
    return next((seconds(time) for time in times if time), created_at(event))


def last_at(event: Object) -> float:
    """When an event was last seen."""
    series = event.get("series") or {}
    return max(happened_at(event), seconds(event.get("lastTimestamp")), seconds(series.get("lastObservedTime")))


def times(event: Object) -> int:
    """How often an event was seen."""
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def conditions(found: Object) -> list[Object]:
    return list(found.get("status", {}).get("conditions") or ())


def condition(found: Object, kind: str) -> Object:
    """The condition of this type, empty if there is none."""
    return next((each for each in conditions(found) if each.get("type") == kind), {})


def container_statuses(pod: Object) -> Iterator[Object]:
    """The states of a Pod's containers, in the order in which they start."""
    status = pod.get("status", {})
    for group in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(group) or ()


def spec_of(pod: Object, container: str) -> Object:
    """A container as its Pod's spec has it."""
    spec = pod.get("spec", {})
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return next((each for each in every if each.get("name") == container), {})


def _is_about(event: Object, found: Object) -> bool:
    about = event.get("involvedObject") or {}
    same = about.get("kind") == found.get("kind") and about.get("name") == name_of(found)
    return same and about.get("namespace", "") in ("", namespace_of(found))
