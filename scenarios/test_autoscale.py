"""A service grows with its load and shrinks after it, and the report says how fast."""

from __future__ import annotations

from harness import Platform
from harness.backends.backend import Capability
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import inference_service

RPS = 40


def test_a_load_scales_a_service_out_and_its_end_scales_it_back(platform: Platform, high_utiliser: Dataset) -> None:
    """1 -> N -> 1 by CPU without a lost request, its reaction times beside what the autoscaler's formula predicts."""
    platform.require(Capability.AUTOSCALING)
    model = platform.train(high_utiliser, max_depth=3)
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    scaled = document.with_resources(requests={"cpu": "50m"}).with_autoscaling(4, target=80)
    service = platform.apply(scaled, model=model)
    with platform.scaling(service) as scaling:
        with platform.load(service, rps=RPS) as load:
            scaling.wait_ready(2, Deadline.after(180))
            sent = sum(count.requests for count in service.counts(100))
            wait(
                lambda: sum(count.requests for count in service.counts(100)) >= sent + 20 * RPS,
                what="load on more replicas than one", deadline=Deadline.after(60), every_s=0.5,
            )  # fmt: skip
        scaling.wait_ready(1, Deadline.after(240))
    assert load.ledger.unexplained == load.ledger.lost == 0
    (found,) = platform.run.record.scaling
    measured, predicted = found.measured, found.predicted
    assert measured.peak > 1
    assert measured.metric_s is not None
    assert measured.decided_s is not None
    assert measured.ready_s is not None
    assert measured.metric_s <= measured.decided_s <= measured.ready_s
    assert measured.back_s is not None
    assert predicted is not None
    assert predicted.peak > 1
