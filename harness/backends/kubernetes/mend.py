"""Brings a kept cluster, which nobody uses, back to what a new one is: ends what sessions that were killed left in it.

A fault that nobody ended: a cordoned node, an image that is hidden, a container that stands still. A run that nobody
closed: its namespaces, with their quotas and Pods, and its MLflow server. A component without Pods the installer mends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.backends.kubernetes.mlflow_pool import leftovers
from harness.backends.kubernetes.nodes import Nodes
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER, RUN_LABEL, SYSTEM

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube


def mend(kube: Kube) -> Iterator[str]:
    """End what was left, and say what it was, a line each."""
    yield from _mend_nodes(kube)
    yield from _end_runs(kube)


def _mend_nodes(kube: Kube) -> Iterator[str]:
    nodes = Nodes(kube)
    for node in kube.list("v1/Node"):
        name = node["metadata"]["name"]
        if node["spec"].get("unschedulable"):
            kube.patch("v1/Node", name, {"spec": {"unschedulable": False}})
            yield f"uncordoned node {name}"
        for image in nodes.hidden_images(name):
            nodes.show_image(name, image)
            yield f"node {name} has the image {image} again"
        for container in nodes.resume_all(name):
            yield f"container {container[:12]} on node {name} goes on"


def _end_runs(kube: Kube) -> Iterator[str]:
    for namespace in kube.list("v1/Namespace", labels=f"{MANAGED_BY}={MANAGER},{RUN_LABEL}"):
        name = namespace["metadata"]["name"]
        kube.delete("v1/Namespace", name)
        yield f"deleted namespace {name} of a run that did not end"
    for kind, name in leftovers(kube):
        kube.delete(kind, name, SYSTEM)
        yield f"deleted {name} of a run that did not end"
