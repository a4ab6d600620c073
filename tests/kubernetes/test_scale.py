"""Scaling in a real cluster: a quota of devices that is used up, and a load that is sent by Pods."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.backend import KubernetesBackend
from harness.backends.scaling import GPU
from harness.clients.kubernetes import Kube
from harness.lifecycle.dataset import Dataset
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import inference_service

RPS = 40


@pytest.fixture
def backend(platform: Platform) -> KubernetesBackend:
    """The cluster's backend."""
    platform.require(Capability.AUTOSCALING)
    assert isinstance(platform.backend, KubernetesBackend)
    return platform.backend


@pytest.fixture
def kube(backend: KubernetesBackend) -> Kube:
    return backend.world.kube


@pytest.fixture
def one_gpu(platform: Platform, backend: KubernetesBackend) -> Iterator[None]:
    """A node that says it has one GPU."""
    with platform.devices(1):
        yield


def on_gpus(model: ModelVersion) -> InferenceService:
    """A service of one to two replicas, a GPU each."""
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    limits = {GPU: 1}
    return document.with_resources(requests={"cpu": "50m"}, limits=limits).with_autoscaling(2, target=40)


@pytest.mark.usefixtures("one_gpu")
def test_a_quota_of_devices_is_enforced_and_its_words_reach_the_record(
    platform: Platform, backend: KubernetesBackend, kube: Kube, high_utiliser: Dataset
) -> None:
    """Where the team has no GPU left in its quota, the Pod is not even made: its Deployment says why."""
    namespace = backend.namespace("production")
    quota = {"hard": {f"requests.{GPU}": "1"}}
    metadata = {"name": "devices", "namespace": namespace}
    kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": quota})
    model = platform.train(high_utiliser, max_depth=2)
    service = platform.apply(on_gpus(model), model=model)
    with platform.scaling(service) as scaling, platform.load(service, rps=RPS) as load:
        assert f"exceeded quota: devices, requested: requests.{GPU}=1" in scaling.wait_blocked(Deadline.after(180))
    assert load.ledger.unexplained == load.ledger.lost == 0


def test_a_large_load_is_sent_by_pods_and_accounted_for_like_any_other(
    platform: Platform, backend: KubernetesBackend, kube: Kube, high_utiliser: Dataset
) -> None:
    """A master and two workers, each in a Pod; every request has one class, and nothing of them stays."""
    model = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(model)
    with platform.load(service, rps=RPS, workers=2, users=100) as load:
        wait(
            lambda: sum(count.requests for count in service.counts(100)) >= 10 * RPS,
            what="requests from both workers", deadline=Deadline.after(120), every_s=0.2,
        )  # fmt: skip
    assert load.ledger.unexplained == load.ledger.lost == 0
    assert load.ledger.sent >= 10 * RPS
    (record,) = platform.run.record.loads
    assert (record.workers, record.users) == (2, 100)
    namespace = backend.namespace("load")
    for kind in ("batch/v1/Job", "v1/Pod", "v1/ConfigMap"):
        labels = "" if kind != "v1/ConfigMap" else "app.kubernetes.io/managed-by=rehearsal"
        wait(
            lambda kind=kind, labels=labels: not kube.list(kind, namespace, labels=labels),  # type: ignore[misc]
            what=f"no {kind} left", deadline=Deadline.after(60), every_s=0.2,
        )  # fmt: skip
