"""A manifest that asks for GPUs is rehearsed without one: devices are counted, and one replica too many waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.backends.inference_service import InferenceService
from harness.backends.scaling import GPU
from harness.lifecycle.dataset import Dataset
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.service import inference_service

RPS = 40


@pytest.fixture
def model(platform: Platform, high_utiliser: Dataset) -> ModelVersion:
    """A small model, where services scale."""
    platform.require(Capability.AUTOSCALING)
    platform.require(Capability.RESOURCES)
    return platform.train(high_utiliser, max_depth=2)


@pytest.fixture
def one_gpu(platform: Platform) -> Iterator[None]:
    """A node that says it has one GPU."""
    with platform.devices(1):
        yield


def on_gpus(model: ModelVersion) -> InferenceService:
    """A service of one to two replicas, a GPU each."""
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    return document.with_resources(requests={"cpu": "50m"}, limits={GPU: 1}).with_autoscaling(2, target=40)


@pytest.mark.usefixtures("one_gpu")
def test_a_scale_out_beyond_the_devices_is_blocked_visibly_and_the_service_serves_on(
    platform: Platform, model: ModelVersion
) -> None:
    """The second replica stays Pending with the scheduler's reason, which the record has; no request is lost."""
    service = platform.apply(on_gpus(model), model=model)
    with platform.scaling(service) as scaling, platform.load(service, rps=RPS) as load:
        assert f"Insufficient {GPU}" in scaling.wait_blocked(Deadline.after(180))
    assert load.ledger.unexplained == load.ledger.lost == 0
    (found,) = platform.run.record.scaling
    assert found.measured.peak == 2
    assert found.measured.first_s is None, "the second replica never came"
    assert f"Insufficient {GPU}" in found.blocked[0]


@pytest.mark.usefixtures("one_gpu")
def test_a_device_that_becomes_free_goes_to_the_replica_that_waits_for_it(
    platform: Platform, model: ModelVersion
) -> None:
    """Two devices for two replicas, once there are two."""
    service = platform.apply(on_gpus(model), model=model)
    with platform.scaling(service) as scaling, platform.load(service, rps=RPS) as load:
        scaling.wait_blocked(Deadline.after(180))
        with platform.devices(2):
            scaling.wait_ready(2, Deadline.after(180))
    assert load.ledger.unexplained == load.ledger.lost == 0
