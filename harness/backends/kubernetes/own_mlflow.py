"""An MLflow server in a run's own namespace: what a foreign cluster needs for it is a Deployment and a Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.install import wait_ready
from harness.backends.kubernetes.manifests import Ready, fill, load
from harness.backends.kubernetes.port_forward import Forwards, Target
from harness.backends.kubernetes.registry import in_registry
from harness.backends.kubernetes.runspace import Tracking, alias_document, label_of, owned
from harness.backends.kubernetes.world import MLFLOW_PORT, MLFLOW_SERVICE, RUN_LABEL
from harness.errors import ConfigError
from harness.runtime.clock import Deadline
from harness.runtime.paths import data_folder

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube


class OwnMlflow(Tracking):
    """Starts in the first namespace that the run uses; the others have another name of it."""

    def __init__(
        self, kube: Kube, instance: str, run_id: str, forwards: Forwards, deadline: Deadline, *, image_prefix: str = ""
    ) -> None:
        self._kube = kube
        self._instance = instance
        self._label = label_of(run_id)
        self._forwards = forwards
        self._deadline = deadline
        self._image_prefix = image_prefix
        self._home = ""

    def url(self) -> str:
        return self._forwards.url(self._target)

    def alias(self, namespace: str) -> dict[str, Any]:
        self._refuse_taken(namespace)
        if not self._home:
            self._home = namespace
            self._start(namespace)
        return alias_document(namespace, f"mlflow-{self._instance}.{self._home}.svc.cluster.local")

    def close(self) -> None:
        self._forwards.stop(self._target)

    @property
    def _target(self) -> Target:
        return Target(self._home, f"service/mlflow-{self._instance}", MLFLOW_PORT)

    def _start(self, namespace: str) -> None:
        path = data_folder("manifests") / "system" / "mlflow" / "alone" / "10-server.yaml"
        for document in load(path):
            filled = in_registry(fill(document, {"id": self._instance, "namespace": namespace}), self._image_prefix)
            self._kube.apply(owned(filled, self._label))
        ready = Ready("apps/v1/Deployment", namespace, f"mlflow-{self._instance}")
        wait_ready(self._kube, ready, "the run's MLflow server", self._deadline)

    def _refuse_taken(self, namespace: str) -> None:
        """One run at a time uses a namespace: its Pods know one registry, by the name mlflow."""
        taken = self._kube.find("v1/Service", MLFLOW_SERVICE, namespace)
        owner = (taken or {}).get("metadata", {}).get("labels", {}).get(RUN_LABEL, "")
        if taken is not None and owner != self._label:
            raise ConfigError(
                f"namespace {namespace}: in use by {f'the run {owner}' if owner else 'a Service mlflow of yours'}",
                hint=f"wait for its end, or remove what it left: rehearse gc --context NAME --run {owner}"
                if owner
                else "name another namespace",
            )
