"""The Pods and the Service of Envoy Gateway's data plane for our Gateway: found by its labels."""

from __future__ import annotations

from harness.backends.kubernetes.world import GATEWAY
from harness.clients.kubernetes import Kube
from harness.errors import RequestFailed

NAMESPACE = "envoy-gateway-system"
STATS_PORT = 19001


class EnvoyPods:
    """What Envoy Gateway made for one Gateway."""

    def __init__(self, kube: Kube, gateway_namespace: str, gateway: str = GATEWAY, namespace: str = NAMESPACE) -> None:
        self._kube = kube
        self.namespace = namespace
        owner = "gateway.envoyproxy.io/owning-gateway"
        self.selector = f"{owner}-name={gateway},{owner}-namespace={gateway_namespace}"

    def pages(self, path: str) -> dict[str, str]:
        """Each Pod's answer on its stats port; one that does not answer is left out."""
        found = {}
        for pod in self._kube.list("v1/Pod", self.namespace, labels=self.selector):
            try:
                name = pod["metadata"]["name"]
                found[name] = self._kube.pod_get(name, self.namespace, STATS_PORT, path)
            except RequestFailed:
                """It is starting or ending: nothing is under way there that its other readings would not show."""
        return found

    def service(self) -> tuple[str, str, int] | None:
        """(namespace, name, port) of the Service in front of the Pods."""
        for found in self._kube.list("v1/Service", self.namespace, labels=self.selector):
            return self.namespace, found["metadata"]["name"], int(found["spec"]["ports"][0]["port"])
        return None
