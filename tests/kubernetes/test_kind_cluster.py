"""The fixture `kind_cluster` as a user has it: pytest-kind's methods on our programs and images."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from harness.backends.kubernetes.cluster import Cluster
from harness.clients.kubernetes import Kube
from harness.images.engine import docker
from harness.runtime.clock import Deadline
from tests.kubernetes.test_diagnostics import PAUSE, pod

LOADED = "loaded/by-a-test:1"
ACCOUNT = "the account that Pods need, which a new cluster has a moment later"


@pytest.fixture
def kube(kind_cluster: Cluster) -> Iterator[Kube]:
    with Kube.connect(kind_cluster.kubeconfig_path, kind_cluster.context) as kube:
        yield kube


def test_an_image_of_this_machine_is_loaded_and_a_pod_of_it_runs(kind_cluster: Cluster, kube: Kube) -> None:
    """Which is never pulled: the node had no image of this name before."""
    docker("tag", PAUSE, LOADED)
    try:
        kind_cluster.load_docker_image(LOADED)
        kube.wait_for("v1/ServiceAccount", "default", "default", bool, what=ACCOUNT, deadline=Deadline.after(60))
        kube.apply(pod("loaded", "default", image=LOADED), deadline=Deadline.after(30))
        kube.wait_for(
            "v1/Pod",
            "loaded",
            "default",
            lambda found: found["status"].get("phase") == "Running",
            what="a Pod of the loaded image",
            deadline=Deadline.after(60),
        )
    finally:
        kube.delete("v1/Pod", "loaded", "default", grace_s=0)
        docker("rmi", LOADED)


def test_a_port_of_a_service_is_reached_from_this_machine(kind_cluster: Cluster) -> None:
    """At a port of the loopback address."""
    deployment = "deployment/coredns"
    kind_cluster.kubectl("-n", "kube-system", "rollout", "status", deployment, "--timeout=90s", timeout=100)
    with kind_cluster.port_forward("service/kube-dns", 9153, "-n", "kube-system") as port:
        assert "coredns_build_info" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text


def test_kubectl_and_the_client_of_pytest_kind_speak_to_it(kind_cluster: Cluster) -> None:
    """Both see the one node."""
    import pykube

    assert kind_cluster.node in kind_cluster.kubectl("get", "nodes", timeout=30)
    assert [node.name for node in pykube.Node.objects(kind_cluster.api)] == [kind_cluster.node]
