"""Programs run on a cluster's nodes: only on those of a kind cluster, which are containers of this machine's Docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import CapabilityMissing, PlatformError

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

KIND_LABEL = "io.x-k8s.kind.cluster"
_CTR = ("ctr", "--namespace", "k8s.io")
_HINT = "use the kind world: its nodes are containers that this machine may reach into."


class Nodes:
    """The nodes of a cluster; CapabilityMissing where this machine cannot reach into them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def run(self, node: str, argv: Sequence[str]) -> str:
        """The output of a program on a node; PlatformError if it fails."""
        from harness.images.engine import docker

        try:
            label = docker("inspect", "--format", f'{{{{index .Config.Labels "{KIND_LABEL}"}}}}', node).strip()
        except PlatformError as error:
            raise CapabilityMissing(f"reaching into node {node}", hint=_HINT) from error
        if not label:
            raise CapabilityMissing(f"reaching into node {node}", hint=_HINT)
        return docker("exec", node, *argv)

    def signal(self, pod: dict[str, Any], container: str, action: Sequence[str]) -> None:
        """`ctr tasks ACTION` for a container of a Pod: ("kill", "--signal", "SIGKILL"), ("pause",), ("resume",)."""
        self.run(pod["spec"]["nodeName"], [*_CTR, "tasks", *action, container_id(pod, container)])

    def rename_image(self, node: str, image: str, name: str) -> None:
        """Give a node's image another name, so that no Pod finds it under its own."""
        self.run(node, [*_CTR, "images", "tag", "--force", image, name])
        self.run(node, [*_CTR, "images", "rm", image])

    def names(self) -> list[str]:
        """The names of all nodes."""
        return [node["metadata"]["name"] for node in self._kube.list("v1/Node")]


def container_id(pod: dict[str, Any], container: str) -> str:
    """The runtime's id of a running container; PlatformError if there is none."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == container and status.get("containerID"):
            return str(status["containerID"]).rpartition("/")[2]
    raise PlatformError(f"pod {pod['metadata']['name']}: container {container} does not run")
