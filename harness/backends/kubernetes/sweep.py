"""Removes kind clusters: one that its session leaves, and those that dead sessions left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from harness.backends.kubernetes import clusters
from harness.backends.kubernetes.clusters import ClusterState
from harness.backends.kubernetes.docker import CLUSTER_LABEL, containers_of, network_labels, networks, remove_network
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER
from harness.errors import CapabilityMissing
from harness.images.engine import docker
from harness.runtime.clock import Deadline
from harness.runtime.owner import Owner
from harness.runtime.state import is_gone
from harness.runtime.wait import wait

OWNER_LABEL, STATE_LABEL = "rehearsal.dev/owner", "rehearsal.dev/state"
"""Of a cluster's network: who made it, and the state file that says who uses it."""
LOCK_S = 20.0
REMOVE_S = 60.0
MAKE_S = 30.0


def delete(name: str) -> None:
    """Remove the containers of a cluster, whatever there is of them, and its network."""
    end_makers(name)
    wait(lambda: _removed(name), what=f"removal of {name}", deadline=Deadline.after(REMOVE_S), every_s=0.2)
    remove_network(name)


def remove(name: str) -> None:
    """Delete a cluster and forget it."""
    delete(name)
    clusters.forget(name)


def _removed(name: str) -> bool:
    """Whether nothing is left; Docker may forget a removal that meets the start of the container."""
    for container in containers_of(name):
        docker("rm", "--force", "--volumes", container, timeout_s=REMOVE_S)
    return not containers_of(name)


def end_makers(name: str) -> None:
    """End a kind that makes this cluster, but not in the middle of its `docker run`, which would end with it.

    What that makes must be there to be found and removed.
    """
    kinds = list(_processes("create", "cluster", "--name", name))
    for kind in kinds:
        kind.suspend()
    label = f"{CLUSTER_LABEL}={name}"
    wait(
        lambda: not any(_processes("--label", label)), what="docker run", deadline=Deadline.after(MAKE_S), every_s=0.05
    )
    for kind in kinds:
        kind.kill()


def _processes(*words: str) -> Iterator[psutil.Process]:
    """The processes with these words in a row in their command line."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []  # a zombie has none
        if any(tuple(line[at : at + len(words)]) == words for at in range(len(line))):
            yield process


def gc(*, kept: bool = False) -> list[str]:
    """Remove the clusters that nobody uses and nobody keeps, and networks of ours without a cluster; their names.

    With `kept` also those that are kept; never one that a living process uses.
    """
    removed = []
    for name in sorted({*clusters.names(), *_ours()}):
        with clusters.locked(name, Deadline.after(LOCK_S)):
            state = clusters.read(name)
            if _useless(state, kept=kept) if state else _orphan(name):
                remove(name)
                removed.append(name)
    return removed


def alone() -> list[str]:
    """The clusters that nobody uses, and that only `gc(kept=True)` removes."""
    states = [state for name in clusters.names() if (state := clusters.read(name))]
    return [f"cluster {state.name}" for state in states if not (state.living() or state.abandoned())]


def _useless(state: ClusterState, *, kept: bool) -> bool:
    return not state.living() if kept else state.abandoned()


def _ours() -> list[str]:
    try:
        return networks(f"{MANAGED_BY}={MANAGER}")
    except CapabilityMissing:
        return []  # without Docker there is nothing to be removed


def _orphan(name: str) -> bool:
    """Whether the state file of a network's cluster is gone, wherever it was, and its maker is known to be dead."""
    labels = network_labels(name)
    maker = Owner.parse(labels.get(OWNER_LABEL, ""))
    return maker is not None and maker.dead() and is_gone(Path(labels.get(STATE_LABEL, "")))
