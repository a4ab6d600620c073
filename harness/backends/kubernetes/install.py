"""Installs components into a cluster: each when what it needs serves, all others at the same time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes import pki
from harness.backends.kubernetes.manifests import RANDOM, Component, Object, Ready, closure, digest, fill
from harness.backends.kubernetes.registry import how_to_get
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER, SYSTEM
from harness.clients.kubernetes import rolled_out
from harness.errors import ConfigError, PlatformError, RequestFailed
from harness.report.record import ComponentRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

INSTALLED = "rehearsal-components"
"""The ConfigMap of the system namespace that says what is installed."""
_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
CRASHES = 3
"""A component that ended so often has not just been waiting for another one."""
_LINES = 20
_WORKLOADS = ("apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet")

Told = Callable[[str, str], None]


@dataclass
class StoppableClock:
    """The machine's clock; once stopped, every deadline on it has passed, so that whoever waits ends at once."""

    stopped: threading.Event = field(default_factory=threading.Event)

    def now(self) -> float:
        return float("inf") if self.stopped.is_set() else time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.stopped.wait(seconds)


class Installer:
    """Brings components into one cluster; what is there already, of the same manifests, is only waited for."""

    def __init__(
        self,
        kube: Kube,
        known: Mapping[str, Component],
        bundle: Callable[[str], Path],
        *,
        values: Mapping[str, str] | None = None,
        told: Told = lambda name, message: None,
        adapt: Callable[[Object], Object] = lambda document: document,
    ) -> None:
        self.kube = kube
        self.known = known
        self.records: dict[str, ComponentRecord] = {}
        self._bundle = bundle
        self._values = values or {}
        self._told = told
        self._adapt = adapt
        self._clock = StoppableClock()
        self._futures: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(max(1, len(known)), thread_name_prefix="install")
        self._lock = threading.Lock()

    def install(self, names: Iterable[str], deadline: Deadline) -> None:
        """Have these components, and what they need, serve; safe to call from several threads."""
        own = Deadline(self._clock.now() + deadline.remaining_s(), self._clock)
        order = closure(names, self.known)
        with self._lock:
            for name in order:
                if name not in self._futures or self._failed(name):
                    self._futures[name] = self._pool.submit(self._bring, self.known[name], own)
            futures = {name: self._futures[name] for name in order}
        for future in futures.values():
            future.result()

    def stop(self) -> None:
        """End what is still being installed; the cluster keeps what was applied."""
        self._clock.stopped.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _failed(self, name: str) -> bool:
        future = self._futures[name]
        return future.done() and (future.cancelled() or future.exception() is not None)

    def _bring(self, component: Component, deadline: Deadline) -> None:
        documents = component.documents(self._bundle)
        for need in component.needs:
            self._futures[need].result(timeout=deadline.remaining_s())
        began = time.monotonic()
        mark = digest(component, documents)
        if self._installed(component.name) != mark or not all(
            has_replicas(self.kube, each) for each in component.ready
        ):
            self._apply(component, documents, deadline)
        for ready in component.ready:
            wait_ready(self.kube, ready, component.name, deadline)
        ready_s = time.monotonic() - began
        self._note(component.name, mark)
        self.records[component.name] = ComponentRecord(name=component.name, version=component.version, ready_s=ready_s)
        self._told(component.name, f"ready in {ready_s:.1f} s")

    def _apply(self, component: Component, documents: list[Object], deadline: Deadline) -> None:
        documents = [document for document in documents if not self._made_once(document)]
        documents = [with_replicas(self._adapt(fill(document, self._values))) for document in documents]
        namespaces = [document for document in documents if document["kind"] == "Namespace"]
        self.kube.apply_all(namespaces, deadline=deadline)
        documents = [document for document in documents if document["kind"] != "Namespace"]
        for wanted in component.certificates:
            issued = pki.issue(wanted.secrets)
            for name, each in issued.items():
                self.kube.apply(pki.secret(name, wanted.namespace, each, wanted.labels), deadline=deadline)
                if wanted.webhooks:
                    documents = [with_ca(document, each.ca) for document in documents]
        self.kube.apply_all(documents, deadline=deadline)
        wait_served(self.kube, documents, deadline)

    def _made_once(self, document: Object) -> bool:
        """Whether it is a secret made at random that is there already: what was started with it must still fit it."""
        metadata = document["metadata"]
        once = document["kind"] == "Secret" and RANDOM in str(document.get("stringData"))
        return once and self.kube.find("v1/Secret", metadata["name"], metadata["namespace"]) is not None

    def _installed(self, name: str) -> str:
        found = self.kube.find("v1/ConfigMap", INSTALLED, SYSTEM) or {}
        return str(json.loads(found.get("data", {}).get(name, "{}")).get("digest", ""))

    def _note(self, name: str, mark: str) -> None:
        told = json.dumps({"version": self.known[name].version, "digest": mark})
        self.kube.patch("v1/ConfigMap", INSTALLED, {"data": {name: told}}, SYSTEM)


def prepare(kube: Kube, deadline: Deadline) -> None:
    """The system namespace, and the place that says what is installed."""
    labels = {MANAGED_BY: MANAGER, "pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": labels}}, deadline=deadline
    )
    metadata = {"name": INSTALLED, "namespace": SYSTEM}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, deadline=deadline)


def wait_ready(kube: Kube, ready: Ready, what: str, deadline: Deadline) -> None:
    """Wait until an object says that it serves; a workload without Pods does not.

    Errors: ConfigError for an image that is nowhere, PlatformError for a Job that failed and for a container that ends
    again and again, with its last line; WaitTimeout shows the status.
    """

    def met(found: Object) -> bool:
        if ready.kind not in _WORKLOADS:
            return has_condition(found, ready.condition)
        return rolled_out(found) and found["spec"].get("replicas", 1) > 0

    def failed(found: Object) -> str | None:
        pods = _pods_of(kube, found)
        if missing := missing_image(pods):
            hint = how_to_get(missing) or "its registry must be in the cluster's reach"
            raise ConfigError(f"{what}: no image {missing}", hint=hint)
        if crashing := crashed(pods):
            return f"{crashing.container} ended {crashing.times} times: {_last_line(kube, crashing)}"
        return "the Job failed" if has_condition(found, "Failed") else None

    named = f"{what}: {ready.kind} {ready.name}"
    kube.wait_for(ready.kind, ready.name, ready.namespace or None, met, what=named, deadline=deadline, fail=failed)


def has_replicas(kube: Kube, ready: Ready) -> bool:
    """Whether a workload is there and is to have Pods: a fault whose session was killed may have taken them all."""
    if ready.kind not in _WORKLOADS:
        return True
    found = kube.find(ready.kind, ready.name, ready.namespace or None)
    return found is not None and found["spec"].get("replicas", 1) > 0


def with_replicas(document: Object) -> Object:
    """A workload that names its number of Pods: to apply it then brings back one that was scaled away."""
    if document["kind"] not in ("Deployment", "StatefulSet"):
        return document
    return {**document, "spec": {"replicas": 1, **document["spec"]}}


def _pods_of(kube: Kube, found: Object) -> list[Object]:
    """The Pods that a workload or a Job selects; none of anything else."""
    chosen = found["spec"].get("selector", {}).get("matchLabels", {})
    labels = ",".join(f"{key}={value}" for key, value in chosen.items())
    return kube.list("v1/Pod", found["metadata"]["namespace"], labels=labels) if labels else []


@dataclass(frozen=True)
class Crashed:
    """A container that does not stay up."""

    pod: str
    namespace: str
    container: str
    times: int


def crashed(pods: Iterable[Object]) -> Crashed | None:
    """The first container that has ended CRASHES times and is not up now."""
    for pod in pods:
        status, metadata = pod.get("status", {}), pod["metadata"]
        for found in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
            times = int(found.get("restartCount", 0))
            if times >= CRASHES and "running" not in found.get("state", {}):
                return Crashed(metadata["name"], metadata["namespace"], found["name"], times)
    return None


def _last_line(kube: Kube, crashing: Crashed) -> str:
    try:
        log = kube.logs(crashing.pod, crashing.namespace, container=crashing.container, previous=True, tail=_LINES)
    except RequestFailed:
        return "its log is gone"
    return next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")


def missing_image(pods: Iterable[Object]) -> str:
    """The first image that could not be pulled, "" if there is none."""
    for pod in pods:
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
            if container.get("state", {}).get("waiting", {}).get("reason") in _NO_IMAGE:
                return str(container["image"])
    return ""


def has_condition(found: Mapping[str, Any], condition: str) -> bool:
    """Whether an object's status has this condition, true and of its last generation."""
    newest = found["metadata"].get("generation", 0)
    return any(
        each["type"] == condition and each["status"] == "True" and each.get("observedGeneration", newest) >= newest
        for each in found.get("status", {}).get("conditions", ())
    )


def wait_served(kube: Kube, documents: Iterable[Mapping[str, Any]], deadline: Deadline) -> None:
    """Wait until the API server serves the kinds that CRDs among the documents define."""
    for document in documents:
        if document["kind"] == "CustomResourceDefinition":
            names = document["spec"]["names"]
            wait(partial(_served, kube, document["spec"]), what=f"kind {names['kind']}", deadline=deadline)


def _served(kube: Kube, spec: Mapping[str, Any]) -> bool:
    version = next(each["name"] for each in spec["versions"] if each.get("served"))
    try:
        resources = kube.server.json("GET", f"/apis/{spec['group']}/{version}")["resources"]
    except RequestFailed as error:
        if error.status in (404, 503):
            return False
        raise
    return any(each["name"] == spec["names"]["plural"] for each in resources)


def with_ca(document: Object, ca: bytes) -> Object:
    """A webhook configuration whose webhooks trust a CA; any other document as it is."""
    if not document["kind"].endswith("WebhookConfiguration"):
        return document
    bundle = {"caBundle": pki.encoded(ca)}
    webhooks = [{**webhook, "clientConfig": {**webhook["clientConfig"], **bundle}} for webhook in document["webhooks"]]
    if not webhooks:
        raise PlatformError(f"{document['metadata']['name']}: no webhooks")
    metadata = {key: value for key, value in document["metadata"].items() if key != "annotations"}
    return {**document, "metadata": metadata, "webhooks": webhooks}
