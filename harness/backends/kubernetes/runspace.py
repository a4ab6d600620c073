"""A run's own space in a cluster: namespaces that are made when first asked for, and an MLflow server of its own."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from harness.backends.kubernetes.leftovers import clean
from harness.backends.kubernetes.world import (
    LOGICAL_LABEL,
    MLFLOW_PORT,
    MLFLOW_SERVICE,
    OWNER,
    GatewayRef,
    run_labels,
)
from harness.errors import CapabilityMissing, PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.owner import Owner

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

CLOSE_S = 60.0
_POD_SECURITY = "pod-security.kubernetes.io"


def label_of(run_id: str) -> str:
    """A run id as a label's value."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)[-63:].strip("-_.") or "run"


def short(run_id: str) -> str:
    """Eight characters that tell apart runs of one name in two folders, for names of namespaces."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:8]


class Space:
    """What both worlds' run spaces do; `physical` names the namespace that stands for a logical one."""

    def __init__(
        self,
        kube: Kube,
        run_id: str,
        *,
        physical: Callable[[str], str],
        makes_namespaces: bool,
        gateway: GatewayRef,
        gateway_url: Callable[[], str],
        prometheus_url: Callable[[], str],
        alertmanager_url: Callable[[], str],
        tracking: Tracking,
    ) -> None:
        self.kube = kube
        self.run_id = run_id
        self.gateway = gateway
        self._label = label_of(run_id)
        self._physical = physical
        self._makes = makes_namespaces
        self._gateway_url = gateway_url
        self._prometheus_url = prometheus_url
        self._alertmanager_url = alertmanager_url
        self._tracking = tracking
        self._made: dict[str, str] = {}
        self._lock = threading.RLock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tracking_uri(self) -> str:
        return self._tracking.url()

    @property
    def gateway_url(self) -> str:
        return self._gateway_url()

    @property
    def prometheus_url(self) -> str:
        return self._prometheus_url()

    @property
    def alertmanager_url(self) -> str:
        return self._alertmanager_url()

    def namespace(self, logical: str) -> str:
        """The cluster's namespace of a logical one; made, with the Service of the run's MLflow, when first asked."""
        with self._lock:
            if logical not in self._made:
                if self._closed:  # nobody would remove it
                    raise PlatformError(f"namespace {logical}: the run has ended")
                name = self._physical(logical)
                if self._makes:
                    self.kube.apply(namespace_document(name, logical, self._label))
                self._made[logical] = name
                if document := self._tracking.alias(name):
                    self.kube.apply(self.labelled(document))
            return self._made[logical]

    def namespaces(self) -> dict[str, str]:
        with self._lock:
            return dict(self._made)

    def labelled(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document with the run's labels and its owner."""
        return owned(document, self._label)

    def close(self) -> None:
        """Delete what the run made: its namespaces, or what carries its label in those that were given.

        Errors: PlatformError names what could not be deleted, or was not gone in time.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        left: list[str] = []
        with ExitStack() as ending:  # each goes on after an error of the one before
            ending.callback(self._tracking.close)
            if self._makes:
                for name in self._made.values():
                    ending.callback(self.kube.delete, "v1/Namespace", name)
            else:
                left = clean(self.kube, self._made.values(), self._label, Deadline.after(CLOSE_S))
        if left:
            raise PlatformError(
                f"run {self._label}: left in the cluster: {', '.join(left)}",
                hint=f"rehearse gc --context NAME --run {self._label} removes it",
            )


class Tracking:
    """The MLflow server of a run: how this machine and its namespaces reach it."""

    def url(self) -> str:
        """From this machine; CapabilityMissing where there is none."""
        raise CapabilityMissing("tracking and registry", hint="this cluster has no MLflow server")

    def alias(self, namespace: str) -> dict[str, Any] | None:
        """The Service that makes it http://mlflow:5000 in a namespace."""
        return None

    def close(self) -> None:
        """End it, if it is this run's."""


def alias_document(namespace: str, target: str) -> dict[str, Any]:
    """A Service "mlflow" that is another name of `target`, a host inside the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": MLFLOW_SERVICE, "namespace": namespace},
        "spec": {
            "type": "ExternalName",
            "externalName": target,
            "ports": [{"name": "http", "port": MLFLOW_PORT, "targetPort": MLFLOW_PORT}],
        },
    }


def namespace_document(name: str, logical: str, label: str) -> dict[str, Any]:
    """A namespace of a run: Pod Security restricted."""
    levels = {f"{_POD_SECURITY}/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    labels = {LOGICAL_LABEL: logical, **levels}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    return owned(namespace, label)


def owned(document: Mapping[str, Any], label: str) -> dict[str, Any]:
    """A document with the labels of a run, and with this process as its owner."""
    metadata = dict(document["metadata"])
    metadata["labels"] = {**metadata.get("labels", {}), **run_labels(label)}
    metadata["annotations"] = {**metadata.get("annotations", {}), OWNER: str(Owner.me())}
    return {**document, "metadata": metadata}
