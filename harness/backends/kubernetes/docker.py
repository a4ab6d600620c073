"""What Docker has of a kind cluster: containers, published ports, networks."""

from __future__ import annotations

import json

from harness.images.engine import docker
from harness.images.making import LABEL

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""What kind gives the containers of a cluster."""


def is_pulled(image: str) -> bool:
    """Whether an image came from a registry; one that was built here says of what."""
    label = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return not docker("image", "inspect", "--format", label, image).strip()


def image_id(image: str) -> str:
    """Docker's id of an image, which changes with its content."""
    return docker("image", "inspect", "--format", "{{.Id}}", image).strip()


def containers_of(cluster: str) -> list[str]:
    """The ids of the containers, also of stopped ones, of a kind cluster."""
    return docker("ps", "--all", "--quiet", "--filter", f"label={CLUSTER_LABEL}={cluster}").split()


def runs(container: str) -> bool:
    """Whether a container of this name is running."""
    return bool(docker("ps", "--quiet", "--filter", f"name=^{container}$").strip())


def host_ports(container: str) -> dict[int, int]:
    """The ports of a container that are published on the loopback address: its port -> the machine's."""
    found = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", container))
    return {int(port.split("/")[0]): int(bound[0]["HostPort"]) for port, bound in found.items() if bound}


def create_network(name: str, labels: dict[str, str]) -> None:
    """Make a network of a cluster's own."""
    argv = [part for label, value in labels.items() for part in ("--label", f"{label}={value}")]
    docker("network", "create", "--driver", "bridge", *argv, name)


def remove_network(name: str) -> None:
    """Remove a network if it is there."""
    if docker("network", "ls", "--quiet", "--filter", f"name=^{name}$").strip():
        docker("network", "rm", name)


def networks(label: str) -> list[str]:
    """The networks that carry a label, as "key=value"."""
    return docker("network", "ls", "--format", "{{.Name}}", "--filter", f"label={label}").split()


def network_labels(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(docker("network", "inspect", name))[0]["Labels"]
    return found
