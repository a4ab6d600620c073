"""Our kind cluster as somebody else's: named by its context, seen with few permissions, left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.backends.backend import Part
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER, RUN_LABEL, World, WorldOptions
from harness.backends.session import ClusterSession, Session, open_world
from harness.clients.http import client
from harness.errors import AccessDenied, ConfigError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from tests.kubernetes.foreign_lab import kubeconfig_of


@pytest.fixture
def cluster(rehearsal_session: Session) -> Cluster:
    """A cluster with what serving and tracking need."""
    if not isinstance(rehearsal_session, ClusterSession) or not isinstance(rehearsal_session.world, KindWorld):
        pytest.skip("needs --backend kind")
    world = rehearsal_session.world
    for part in (Part.SERVING, Part.METRICS):
        world.ensure(part, Deadline.after(300))
    return world.cluster


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventLog]:
    """Where the worlds tell what they find."""
    with closing(EventLog(tmp_path / "events.jsonl")) as log:
        yield log


@pytest.fixture
def foreign(cluster: Cluster, tmp_path: Path, events: EventLog) -> Iterator[World]:
    """The same cluster, by its context."""
    options = WorldOptions("kubernetes", context=cluster.context, kubeconfig=cluster.kubeconfig_path)
    world = open_world(options, tmp_path, events)
    yield world
    world.close()


def test_versions_are_detected(foreign: World) -> None:
    """What a report needs to say of somebody's cluster."""
    found = {record.name: record.version for record in foreign.components()}
    assert found["kserve"] == "v0.20.0"
    assert found["envoy-gateway"] == "v1.9.1"
    assert found["prometheus"] == "v2.42.0"
    assert found["alertmanager"] == "v0.25.0"
    assert all(record.ready_s is None for record in foreign.components())


def test_a_cluster_of_this_machine_s_docker_is_this_machine(foreign: World) -> None:
    """Its nodes are containers of this kernel, so that load stays here; a tunnel's end would have others."""
    assert foreign.leaves_machine == ""


def test_kserve_s_own_gateway_is_reached_through_a_forward(foreign: World) -> None:
    """Not at a port of the nodes, which a cluster that is not ours may not have open; it has no route for this host."""
    with client(foreign.kserve_gateway_url, timeout_s=5.0) as http:
        assert foreign.kserve_gateway_url.startswith("http://127.0.0.1:")
        assert http.get("/").status_code == 404


def test_a_run_leaves_nothing(foreign: World) -> None:
    """Its namespaces go, and with them all that carries its label."""
    with foreign.open_run("leaves-nothing", Deadline.after(60)) as space:
        physical = space.namespace("production")
        assert space.tracking_uri.startswith("http://127.0.0.1:")
    foreign.kube.wait_deleted("v1/Namespace", physical, None, Deadline.after(60))
    selector = f"{MANAGED_BY}={MANAGER},{RUN_LABEL}=leaves-nothing"
    assert foreign.kube.list("v1/Namespace", labels=selector) == []


def test_a_wrong_context_is_one_line(cluster: Cluster, tmp_path: Path, events: EventLog) -> None:
    """With the contexts that there are."""
    options = WorldOptions("kubernetes", context="no-such", kubeconfig=cluster.kubeconfig_path)
    with pytest.raises(ConfigError) as caught:
        open_world(options, tmp_path, events)
    assert cluster.context in caught.value.hint


def test_a_restricted_account_is_told_what_it_may_not(
    cluster: Cluster, foreign: World, tmp_path: Path, events: EventLog
) -> None:
    """The verb and the resource, and the way to do without."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "restricted", "namespace": "default"}}
    foreign.kube.apply(account)
    kubeconfig = kubeconfig_of(cluster, tmp_path, "restricted", "default")
    options = WorldOptions("kubernetes", context="restricted", kubeconfig=kubeconfig)
    world = open_world(options, tmp_path / "world", events)
    try:
        with pytest.raises(AccessDenied, match="create namespaces") as caught:
            world.open_run("r", Deadline.after(10))
        assert "--namespaces" in caught.value.hint
    finally:
        world.close()
        foreign.kube.delete("v1/ServiceAccount", "restricted", "default")
