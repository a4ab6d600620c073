"""A Kubernetes API server, as a rehearsal uses it: apply, read, wait, delete, logs, exec, proxied GETs, permissions.

A kind is written "v1/Pod" or "apps/v1/Deployment": its apiVersion and its name. Objects are plain mappings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.clients._kubernetes_http import ApiServer, Stream
from harness.clients._kubernetes_objects import MANAGER, Object, Objects, kind_of, selectors
from harness.clients._kubernetes_pods import Executed, Pods
from harness.errors import RequestFailed
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

__all__ = ["MANAGER", "Event", "Executed", "Kube", "Object", "Stream", "kind_of", "rolled_out"]

_WATCH_S = 10.0
_PAUSE_S = 0.1
"""Between two watches, and between two tries of a server that does not answer."""


@dataclass(frozen=True)
class Event:
    """A watched change: ADDED, MODIFIED or DELETED."""

    type: str
    object: Object


class Kube(Objects, Pods):
    """Calls of one API server; 403 is AccessDenied (verb, resource), no answer RequestFailed with status None."""

    kubeconfig: Path | None = None
    context: str | None = None

    @classmethod
    def connect(cls, kubeconfig: Path | None = None, context: str | None = None, *, timeout_s: float = 15.0) -> Self:
        """The cluster of a kubeconfig's context; ConfigError names the contexts that there are."""
        kube = cls(ApiServer.connect(kubeconfig, context, timeout_s=timeout_s))
        kube.kubeconfig, kube.context = kubeconfig, context
        return kube

    @classmethod
    def in_cluster(cls) -> Self:
        """The cluster that this Pod runs in."""
        return cls(ApiServer.in_cluster())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.server.close()

    def version(self) -> str:
        """The server's version, as v1.34.4."""
        return str(self.server.json("GET", "/version")["gitVersion"])

    def wait_for(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        success: Callable[[Object], object],
        *,
        what: str,
        deadline: Deadline,
        fail: Callable[[Object], str | None] | None = None,
    ) -> Object:
        """Watch an object until `success(object)`; PlatformError if `fail(object)` gives a reason; the object."""
        last: list[Object] = []

        def passed() -> Object | None:
            for event in self.watch(
                kind, namespace, deadline=deadline.at_most(_WATCH_S), fields=f"metadata.name={name}"
            ):
                last[:] = [event.object] if event.type != "DELETED" else []
                if last and (success(event.object) or (fail and fail(event.object))):
                    break
            return last[0] if last and success(last[0]) else None

        return wait(
            lambda: _again(passed),
            what=what,
            deadline=deadline,
            fail=(lambda: fail(last[0]) if last else None) if fail else None,
            state=lambda: json.dumps(last[0].get("status", {}))[:1000] if last else f"no {kind} {name}",
            every_s=_PAUSE_S,
        )

    def wait_deleted(self, kind: str, name: str, namespace: str | None, deadline: Deadline) -> None:
        """Wait until an object is gone, its finalizers done."""

        def gone() -> bool:
            if self.find(kind, name, namespace) is None:
                return True
            watched = self.watch(kind, namespace, deadline=deadline.at_most(_WATCH_S), fields=f"metadata.name={name}")
            return any(event.type == "DELETED" for event in watched)

        wait(
            lambda: _again(gone), what=f"deletion of {kind} {name} in {namespace}", deadline=deadline, every_s=_PAUSE_S
        )

    def wait_rolled_out(self, kind: str, name: str, namespace: str, deadline: Deadline) -> Object:
        """Wait until all replicas of a Deployment, StatefulSet or DaemonSet run its last template and are ready."""
        return self.wait_for(kind, name, namespace, rolled_out, what=f"{kind} {namespace}/{name}", deadline=deadline)

    def watch(
        self, kind: str, namespace: str | None = None, *, deadline: Deadline, labels: str = "", fields: str = ""
    ) -> Iterator[Event]:
        """What there is, each as ADDED, then the changes until the deadline (or until the server ends the watch)."""
        items, version = self._list(kind, namespace, labels, fields)
        yield from (Event("ADDED", item) for item in items)
        seconds = max(1, int(deadline.remaining_s()))
        query = {**selectors(labels, fields), "watch": True, "resourceVersion": version, "timeoutSeconds": seconds}
        path = self._resource(kind).path(namespace)
        with self.server.stream(path, query=query, read_s=seconds + 5.0) as lines:
            for line in lines:
                change = json.loads(line)
                if change["type"] == "ERROR":  # the version is too old: the caller lists again
                    return
                yield Event(change["type"], change["object"])

    def allowed(
        self, verb: str, resource: str, namespace: str | None = None, *, group: str = "", name: str = ""
    ) -> bool:
        """Whether these credentials may do it; a resource may be "pods/log"; no namespace: in the whole cluster."""
        plural, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "name": name}
        asked["namespace"] = namespace or ""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._object("POST", path, body=review, what="selfsubjectaccessreviews")["status"]["allowed"])


def rolled_out(workload: Object) -> bool:
    """Whether all replicas of a Deployment, StatefulSet or DaemonSet run its last template and are ready."""
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = ["updatedNumberScheduled", "numberReady"]
    else:
        wanted = workload["spec"].get("replicas", 1)
        counts = ["updatedReplicas", "readyReplicas", "replicas"]
    return all(status.get(count, 0) == wanted for count in counts)


def _again(step: Callable[[], Any]) -> Any:
    """The step's result; None while the server does not answer, as when it restarts."""
    try:
        return step()
    except RequestFailed as error:
        if error.status is None or error.status >= 500 or error.status in (404, 410, 429):
            return None
        raise
