"""Whether a cluster is on this machine: an API server at the loopback address may be the end of a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import AccessDenied
from harness.load.remote import is_loopback
from harness.runtime.owner import boot_id

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube


def elsewhere(kube: Kube) -> str:
    """The API server's address, unless its nodes are known to run on this machine's kernel; then "".

    A node in a virtual machine has a kernel of its own, and who may not read nodes cannot know: both count as away.
    """
    host = str(kube.server.api.configuration.host)
    return "" if is_loopback(host) and nodes_are_here(kube) else host


def nodes_are_here(kube: Kube) -> bool:
    """Whether each node tells this machine's boot id."""
    try:
        nodes = kube.list("v1/Node")
    except AccessDenied:
        return False
    told = {str(node.get("status", {}).get("nodeInfo", {}).get("bootID", "")) for node in nodes}
    return bool(boot := boot_id()) and told == {boot}
