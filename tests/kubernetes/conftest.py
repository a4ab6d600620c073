"""What the tests on a real cluster share: they run with --backend kind, or kubernetes with --context."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from harness.backends.backend import Part
from harness.backends.kubernetes import rehearsal_role
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.rehearsal_role import Where
from harness.backends.kubernetes.world import SYSTEM, World
from harness.backends.session import ClusterSession, Session
from harness.clients.kubernetes import Kube
from harness.runtime.clock import Deadline
from tests.kubernetes.foreign_lab import Given, kubeconfig_of, namespace

DEFINING = ("gateway-api", "kserve-crds", "trainer")
"""The components that define the kinds which our manifests and roles name."""


@pytest.fixture
def world(rehearsal_session: Session) -> World:
    """The cluster of this session."""
    if not isinstance(rehearsal_session, ClusterSession):
        pytest.skip("needs --backend kind, or --backend kubernetes --context NAME")
    return rehearsal_session.world


@pytest.fixture(scope="module")
def whole_cluster(rehearsal_session: Session) -> Cluster:
    """A cluster with what a rehearsal needs."""
    if not isinstance(rehearsal_session, ClusterSession) or not isinstance(rehearsal_session.world, KindWorld):
        pytest.skip("needs --backend kind")
    for part in (Part.SERVING, Part.METRICS):
        rehearsal_session.world.ensure(part, Deadline.after(300))
    return rehearsal_session.world.cluster


@pytest.fixture(scope="module")
def cluster_admin(whole_cluster: Cluster) -> Iterator[Kube]:
    with Kube.connect(whole_cluster.kubeconfig_path, whole_cluster.context) as kube:
        yield kube


@pytest.fixture(scope="module")
def given(whole_cluster: Cluster, cluster_admin: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """Two namespaces with the role, and something of the team's own in each."""
    suffix = uuid.uuid4().hex[:6]
    names = {"production": f"team-{suffix}", "staging": f"team-{suffix}-staging"}
    cluster_admin.apply_all(rehearsal_role.shared())
    for logical, name in names.items():
        cluster_admin.apply(namespace(name, logical))
        cluster_admin.apply_all(rehearsal_role.documents(Where.GIVEN, name))
        theirs = {"name": "theirs", "namespace": name, "labels": {"app.kubernetes.io/managed-by": "rehearsal"}}
        cluster_admin.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": theirs, "data": {"of": "the team"}})
    kubeconfig = kubeconfig_of(whole_cluster, tmp_path_factory.mktemp("role"), rehearsal_role.NAME, SYSTEM)
    yield Given(whole_cluster, names, kubeconfig)
    for name in names.values():
        cluster_admin.delete("v1/Namespace", name)


@pytest.fixture(scope="session")
def every_kind(rehearsal_session: Session) -> bool:
    """Whether the cluster serves every kind that our manifests and roles name; the kind world does from now on."""
    if not isinstance(rehearsal_session, ClusterSession) or not isinstance(rehearsal_session.world, KindWorld):
        return False
    rehearsal_session.world.install(DEFINING, Deadline.after(300))
    return True
