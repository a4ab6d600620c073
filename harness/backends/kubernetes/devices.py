"""Devices that a node says it has, for a rehearsal without them: an extended resource on the nodes' status.

A Pod that asks for one is scheduled as with real devices, and stays Pending once they are used up. It gets no device.
Kubernetes documentation, "Advertise Extended Resources for a Node".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.backends.scaling import GPU
from harness.clients.kubernetes import Kube, Object
from harness.runtime.clock import Deadline

NODE = "v1/Node"


@contextmanager
def advertised(kube: Kube, count: int, *, deadline: Deadline, resource: str = GPU) -> Iterator[None]:
    """While the block lasts, the first schedulable node has `count` devices; then as many as it had before."""
    node = schedulable(kube.list(NODE))
    name = node["metadata"]["name"]
    before = node["status"].get("capacity", {}).get(resource)
    _advertise(kube, name, resource, str(count), deadline)
    try:
        yield
    finally:
        _advertise(kube, name, resource, before, deadline)


def schedulable(nodes: list[Object]) -> Object:
    """The first node, by name, that takes Pods; there is always one in a cluster that runs."""
    taking = [node for node in nodes if not node["spec"].get("unschedulable")]
    return min(taking or nodes, key=lambda node: str(node["metadata"]["name"]))


def _advertise(kube: Kube, node: str, resource: str, count: str | None, deadline: Deadline) -> None:
    """Set a node's capacity, and wait until its kubelet has taken it over as allocatable."""
    kube.patch(NODE, node, {"status": {"capacity": {resource: count}}}, subresource="status")
    if count is None:
        kube.patch(NODE, node, {"status": {"allocatable": {resource: None}}}, subresource="status")
        return
    kube.wait_for(
        NODE,
        node,
        None,
        lambda found: found["status"].get("allocatable", {}).get(resource) == count,
        what=f"node {node} with {count} {resource}",
        deadline=deadline,
    )
