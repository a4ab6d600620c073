"""The status of an InferenceService, with KServe's names and shapes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Condition:
    """One condition; `last_transition_time` (RFC 3339, UTC) moves only when `status` does."""

    type: str
    status: Truth
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""

    def to_dict(self) -> dict[str, str]:
        fields = {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.last_transition_time,
        }
        return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True)
class CanaryStatus:
    """One canary: ready or why not; `traffic_percent` is what the gateway gives it now; `failed` if it gave up."""

    name: str
    ready: bool
    traffic_percent: int
    failed: bool = False
    reason: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        told = {"name": self.name, "ready": self.ready, "trafficPercent": self.traffic_percent}
        return told | ({"severity": "Info", "reason": self.reason, "message": self.message} if not self.ready else {})


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica of a revision; `why` it has no place, and with that no process, if it is pending."""

    revision: str
    pid: int
    state: str
    address: str = ""
    log: str = ""
    why: str = ""


@dataclass(frozen=True)
class Status:
    """What `kubectl get -o yaml` shows below status, and the replicas; `restarts` counts replaced dead replicas."""

    generation: int
    observed_generation: int
    url: str
    conditions: tuple[Condition, ...]
    canary_statuses: tuple[CanaryStatus, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    replicas: tuple[ReplicaStatus, ...] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.condition("Ready").status == "True"

    def condition(self, kind: str) -> Condition:
        """The condition of this type; Unknown if the service has none yet."""
        return next((found for found in self.conditions if found.type == kind), Condition(kind, "Unknown"))

    def canary(self, name: str) -> CanaryStatus | None:
        return next((found for found in self.canary_statuses if found.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """KServe's status field."""
        status: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "url": self.url,
            "conditions": [condition.to_dict() for condition in self.conditions],
        }
        if self.canary_statuses:
            status["canaryStatuses"] = [canary.to_dict() for canary in self.canary_statuses]
        return status


def dated(condition: Condition, previous: Sequence[Condition]) -> Condition:
    """The condition with the time of its last transition: now, if the previous one had another status."""
    old = next((found for found in previous if found.type == condition.type), None)
    same = old is not None and old.status == condition.status
    when = old.last_transition_time if same and old else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Condition(condition.type, condition.status, condition.reason, condition.message, when)


def settled(found: Status) -> bool:
    """Whether waiting is over: all is ready, or something cannot become so."""
    if why_not(found):
        return True
    return found.ready and all(canary.ready for canary in found.canary_statuses)


def why_not(found: Status) -> str:
    """Why the service, or one of its canaries, cannot become ready; empty while it can."""
    ready = found.condition("Ready")
    if ready.status == "False":
        return f"{ready.reason}: {ready.message}"
    for canary in found.canary_statuses:
        if canary.failed:
            return f"canary {canary.name}: {canary.reason}: {canary.message}"
    return ""


def told(found: Status) -> str:
    """The state in words, for an error that a wait ends with."""
    ready = found.condition("Ready")
    canaries = [f"canary {canary.name}: {canary.reason}" for canary in found.canary_statuses if not canary.ready]
    return "; ".join([f"Ready={ready.status} {ready.reason} {ready.message}".strip(), *canaries])
