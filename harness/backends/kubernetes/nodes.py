"""Programs run on a cluster's nodes: only on those of a kind cluster, which are containers of this machine's Docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import CapabilityMissing, PlatformError

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

KIND_LABEL = "io.x-k8s.kind.cluster"
_CTR = ("ctr", "--namespace", "k8s.io")
HIDDEN = "rehearsal.invalid/hidden/"
"""What the name of an image begins with that no Pod is to find; its own name follows."""
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

    def hide_image(self, node: str, image: str) -> None:
        """Let a node have an image under a name that no Pod asks for, and that tells its own."""
        self.rename_image(node, image, HIDDEN + image)

    def hidden_images(self, node: str) -> list[str]:
        """The images that are hidden on a node, by their own names."""
        found = self.run(node, [*_CTR, "images", "ls", "--quiet"]).split()
        return [name.removeprefix(HIDDEN) for name in found if name.startswith(HIDDEN)]

    def show_image(self, node: str, image: str) -> None:
        """Give a hidden image its name back."""
        self.rename_image(node, HIDDEN + image, image)

    def resume_all(self, node: str) -> list[str]:
        """Let every container of a node that stands still go on; their ids."""
        listed = self.run(node, [*_CTR, "tasks", "ls"]).splitlines()
        paused = [line.split()[0] for line in listed if line.split()[-1:] == ["PAUSED"]]
        for container in paused:
            self.run(node, [*_CTR, "tasks", "resume", container])
        return paused

    def names(self) -> list[str]:
        """The names of all nodes."""
        return [node["metadata"]["name"] for node in self._kube.list("v1/Node")]


def container_id(pod: dict[str, Any], container: str) -> str:
    """The runtime's id of a running container; PlatformError if there is none."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == container and status.get("containerID"):
            return str(status["containerID"]).rpartition("/")[2]
    raise PlatformError(f"pod {pod['metadata']['name']}: container {container} does not run")
