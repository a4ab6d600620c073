"""Watches a service scale: its HorizontalPodAutoscaler, its Deployment and its Pods, from the API server's watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.applied import SERVICE_LABEL, workload_name
from harness.backends.quantities import quantity
from harness.errors import RehearsalError, UsageError
from harness.lifecycle.autoscaler import (
    AutoscalerSpec,
    Look,
    MetricsModel,
    Policy,
    PolicyKind,
    Rules,
    Select,
    Target,
    TargetKind,
)
from harness.runtime.clock import Deadline

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

HPA, DEPLOYMENT, POD = "autoscaling/v2/HorizontalPodAutoscaler", "apps/v1/Deployment", "v1/Pod"
WATCH_S = 5.0
AWAY_S = 0.5
METRICS = MetricsModel(every_s=10, window_s=15, lag_s=8)
"""metrics-server in kind, as measured: a reading every 10 s, a mean over 10 to 16 s, 8 s old when it is served."""
SYNC_S = 5.0
"""How often kind's controller looks, as harness.backends.kubernetes configures it; upstream's default is 15 s."""
DOWN_S = 30.0
"""The window of a scale-down where the HPA names none: the controller's flag; upstream's default is 300 s."""

Object = Mapping[str, Any]


@dataclass
class Sight:
    """What is known of the service now; a change of what matters adds a look at a Unix time."""

    looks: list[Look] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)
    request_cores: float = 0.0
    _hpa: Object = field(default_factory=dict)
    _ready: int = 0
    _pending: dict[str, str] = field(default_factory=dict)

    def take(self, kind: str, found: Object, *, gone: bool, at: float) -> None:
        """Note what a watch says of one object."""
        if kind == HPA:
            self._hpa = found
        elif kind == DEPLOYMENT:
            self._ready = int(found.get("status", {}).get("readyReplicas") or 0)
            self._note_failure(found)
        else:
            self._take_pod(found, gone=gone)
        self._look(at)

    @property
    def hpa(self) -> Object:
        """The autoscaler as it was last seen; empty before that."""
        return self._hpa

    @property
    def ready(self) -> int:
        """Ready replicas now."""
        return self._ready

    @property
    def pending(self) -> dict[str, str]:
        """Pods that have no place now -> what the scheduler says."""
        return dict(self._pending)

    def _look(self, at: float) -> None:
        if not self._hpa:
            return
        look = Look(at, _metric(self._hpa), int(self._hpa.get("status", {}).get("desiredReplicas") or 0), self._ready)
        last = self.looks[-1] if self.looks else None
        if last is None or (last.metric, last.desired, last.ready) != (look.metric, look.desired, look.ready):
            self.looks.append(look)

    def _take_pod(self, pod: Object, *, gone: bool) -> None:
        name = pod["metadata"]["name"]
        self.request_cores = self.request_cores or _cores(pod)
        why = "" if gone else _unplaced(pod)
        if why:
            self._pending[name] = why
            self.blocked[name] = why
        else:
            self._pending.pop(name, None)

    def _note_failure(self, deployment: Object) -> None:
        """A Pod that could not even be made, as over a quota: its Deployment says so."""
        for condition in deployment.get("status", {}).get("conditions") or ():
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                self.blocked["replica"] = str(condition.get("message", condition.get("reason", "")))


class ScaleWatch:
    """Follows one service until `close`; a context manager."""

    def __init__(self, kube: Kube, namespace: str, service: str, revision: str) -> None:
        self._kube, self._namespace = kube, namespace
        self._name = workload_name(service, revision)
        self._selectors = {
            HPA: {"fields": f"metadata.name={self._name}"},
            DEPLOYMENT: {"fields": f"metadata.name={self._name}"},
            POD: {"labels": f"{SERVICE_LABEL}={service},component=predictor"},
        }
        self.sight = Sight()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if kube.find(HPA, self._name, namespace) is None:
            raise UsageError(f"{namespace}/{service}: no HorizontalPodAutoscaler {self._name}: nothing scales it")
        for kind in self._selectors:
            threading.Thread(target=self._follow, args=(kind,), name=f"scale-{kind}", daemon=True).start()

    def looks(self) -> list[Look]:
        """What was seen so far; `at_s` are Unix times."""
        with self._lock:
            return list(self.sight.looks)

    def blocked(self) -> list[str]:
        """What kept a replica from starting so far, each reason once."""
        with self._lock:
            return list(dict.fromkeys(self.sight.blocked.values()))

    def ready(self) -> int:
        """Ready replicas now."""
        with self._lock:
            return self.sight.ready

    def request_cores(self) -> float:
        """What one replica requests."""
        with self._lock:
            return self.sight.request_cores

    def spec(self) -> AutoscalerSpec:
        """The autoscaler's own words, for harness.lifecycle.autoscaler."""
        with self._lock:
            return spec_of(self.sight.hpa or self._kube.get(HPA, self._name, self._namespace))

    def metrics(self) -> MetricsModel:
        """How old its figures are."""
        return METRICS

    def close(self) -> None:
        self._closed.set()

    def _follow(self, kind: str) -> None:
        while not self._closed.is_set():
            try:
                self._watch(kind, self._take)
            except RehearsalError:  # the API server is away; the next list says what it was
                self._closed.wait(AWAY_S)

    def _watch(self, kind: str, take: Callable[[str, Object, bool], None]) -> None:
        chosen = self._selectors[kind]
        for event in self._kube.watch(kind, self._namespace, deadline=Deadline.after(WATCH_S), **chosen):
            if self._closed.is_set():
                return
            take(kind, event.object, event.type == "DELETED")

    def _take(self, kind: str, found: Object, gone: bool) -> None:
        with self._lock:
            self.sight.take(kind, found, gone=gone, at=time.time())


def spec_of(hpa: Object, *, sync_s: float = SYNC_S, down_s: float = DOWN_S) -> AutoscalerSpec:
    """A HorizontalPodAutoscaler's spec; `sync_s` and `down_s` are the controller's flags, which no object shows."""
    spec, behavior = hpa["spec"], hpa["spec"].get("behavior", {})
    return AutoscalerSpec(
        least=int(spec.get("minReplicas", 1)),
        most=int(spec["maxReplicas"]),
        targets=tuple(_target(metric["resource"]) for metric in spec["metrics"] if metric["type"] == "Resource"),
        up=_rules(behavior.get("scaleUp", {}), 0.0),
        down=_rules(behavior.get("scaleDown", {}), down_s),
        sync_s=sync_s,
    )


def _target(resource: Object) -> Target:
    target = resource["target"]
    if target["type"] == "Utilization":
        return Target(str(resource["name"]), float(target["averageUtilization"]))
    return Target(str(resource["name"]), quantity(str(target["averageValue"])), TargetKind.AVERAGE_VALUE)


def _rules(rules: Object, window_s: float) -> Rules:
    policies = tuple(
        Policy(PolicyKind(each["type"]), int(each["value"]), float(each["periodSeconds"]))
        for each in rules.get("policies") or ()
    )
    window = rules.get("stabilizationWindowSeconds")
    return Rules(window_s if window is None else float(window), policies, Select(rules.get("selectPolicy", "Max")))


def _metric(hpa: Object) -> float | None:
    """What the autoscaler says that it measured: percent of the request, or a value."""
    for metric in hpa.get("status", {}).get("currentMetrics") or ():
        current = metric.get("resource", {}).get("current", {})
        if "averageUtilization" in current:
            return float(current["averageUtilization"])
        if "averageValue" in current:
            return quantity(str(current["averageValue"]))
    return None


def _cores(pod: Object) -> float:
    asked = (each.get("resources", {}).get("requests", {}).get("cpu", "0") for each in pod["spec"]["containers"])
    return sum(map(quantity, map(str, asked)))


def _unplaced(pod: Object) -> str:
    """Why the scheduler found no node for a Pod."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason"))
    return ""
