"""A service grows with its load and shrinks after it, loses no request by either, and the report says how fast."""

from __future__ import annotations

import pytest

from harness import Platform
from harness._scaling import Scaling
from harness.backends.backend import Capability
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.slo import SLO
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service, inference_service, revision_name

RPS = 40


@pytest.fixture
def model(platform: Platform, high_utiliser: Dataset) -> ModelVersion:
    """A small model, where services scale."""
    platform.require(Capability.AUTOSCALING)
    return platform.train(high_utiliser, max_depth=3)


def by_rate(platform: Platform, model: ModelVersion, *, most: int = 4, target: int = 20, least: int = 1) -> Service:
    """A service with so many requests a second for each replica."""
    platform.require(Capability.SCALE_BY_REQUESTS)
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    return platform.apply(document.with_autoscaling(most, metric="rps", target=target, least=least), model=model)


def wait_sent(service: Service, requests: int, within_s: float = 60) -> None:
    """Wait until the service has got so many more requests."""
    sent = sum(count.requests for count in service.counts(100))
    wait(
        lambda: sum(count.requests for count in service.counts(100)) >= sent + requests,
        what=f"{requests} more requests", deadline=Deadline.after(within_s), every_s=0.2,
    )  # fmt: skip


def asked_for(scaling: Scaling) -> list[int]:
    """The numbers of replicas that were asked for, one after the other."""
    numbers = [look.desired for look in scaling.watch.looks()]
    return [now for before, now in zip([None, *numbers], numbers, strict=False) if now != before]


def test_a_load_scales_a_service_out_and_its_end_scales_it_back(platform: Platform, model: ModelVersion) -> None:
    """1 -> N -> 1 by CPU without a lost request, its reaction times beside what the autoscaler's formula predicts."""
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    scaled = document.with_resources(requests={"cpu": "50m"}).with_autoscaling(4, target=80)
    service = platform.apply(scaled, model=model)
    with platform.scaling(service) as scaling:
        with platform.load(service, rps=RPS) as load:
            scaling.wait_ready(2, Deadline.after(180))
            wait_sent(service, 20 * RPS)
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


def test_a_step_is_followed_within_a_bound_by_as_many_replicas_as_it_takes(
    platform: Platform, model: ModelVersion
) -> None:
    """70 requests a second at 20 for each replica are four, within 30 s, and one again within 60 s of the end."""
    service = by_rate(platform, model)
    with platform.scaling(service) as scaling:
        with platform.load(service, rps=70) as load:
            scaling.wait_ready(4, Deadline.after(30))
            wait_sent(service, 5 * 70)
        scaling.wait_ready(1, Deadline.after(60))
    assert load.ledger.unexplained == load.ledger.lost == load.ledger.overall.failed == 0
    (found,) = platform.run.record.scaling
    assert found.measured.peak == 4
    assert found.predicted is not None
    assert found.predicted.peak == 4


def test_a_spike_is_survived_within_the_slos_budget(platform: Platform, model: ModelVersion) -> None:
    """Six times the load for some seconds: replicas are added meanwhile, and the service keeps its promise."""
    service = by_rate(platform, model)
    slo = SLO(errors=0.01, slower_than_ms=500, slow=0.05)
    with platform.scaling(service) as scaling, platform.load(service, rps=15) as steady:
        wait_sent(service, 3 * 15)
        with platform.load(service, rps=75) as spike:
            scaling.wait_ready(4, Deadline.after(30))
            wait_sent(service, 3 * 75)
        wait_sent(service, 3 * 15)
    (count,) = service.counts(slo.slower_than_ms)
    assert steady.ledger.unexplained == spike.ledger.unexplained == 0
    assert count.failed <= slo.errors * count.requests
    assert count.slow <= slo.slow * count.timed


def test_a_flapping_load_does_not_make_the_replicas_flap(platform: Platform, model: ModelVersion) -> None:
    """Three bursts with pauses shorter than the window: up once, and down once after the last of them."""
    service = by_rate(platform, model, most=3)
    with platform.scaling(service) as scaling:
        for _ in range(3):
            with platform.load(service, rps=60) as load:
                wait_sent(service, 4 * 60)
            assert load.ledger.unexplained == load.ledger.lost == 0
        during = asked_for(scaling)
        scaling.wait_ready(1, Deadline.after(60))
        after = asked_for(scaling)
    assert during == sorted(during), "up only"
    assert max(during) == 3
    assert after[len(during) :] == sorted(after[len(during) :], reverse=True), "then down only"


def test_a_canary_scales_apart_from_its_baseline(
    platform: Platform, high_utiliser: Dataset, model: ModelVersion
) -> None:
    """Each by its own requests: with 15 % of the traffic one replica, with 85 % as many as the baseline had."""
    platform.require(Capability.CANARY_SCALING)
    better = platform.train(high_utiliser, max_depth=5)
    canary = revision_name(better)
    service = by_rate(platform, model, most=3)
    service.apply(service.document.with_canary(canary, better.uri, 15))
    with platform.scaling(service) as baseline, platform.scaling(service, revision=canary) as other:
        with platform.load(service, rps=70) as load:
            baseline.wait_ready(3, Deadline.after(30))
            wait_sent(service, 5 * 70)
            assert max(asked_for(other)) == 1
            service.apply(service.document.with_traffic(canary, 85))
            other.wait_ready(3, Deadline.after(30))
            baseline.wait_ready(1, Deadline.after(60))
        assert load.ledger.unexplained == load.ledger.lost == load.ledger.overall.failed == 0
    assert {record.service.rpartition("/")[2] for record in platform.run.record.scaling} == {
        service.name, f"{service.name} ({canary})",
    }  # fmt: skip


def test_the_first_request_to_a_service_without_a_replica_waits_and_succeeds(
    platform: Platform, model: ModelVersion
) -> None:
    """Nobody asks, so nothing runs; who asks then waits for a replica's start, and loses nothing by it."""
    platform.require(Capability.SCALE_TO_ZERO)
    service = by_rate(platform, model, least=0)
    with platform.scaling(service) as scaling:
        scaling.wait_ready(0, Deadline.after(60))
        assert len(service.predict(platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"])) == 1
        scaling.wait_ready(0, Deadline.after(60))
        with platform.load(service, rps=30) as load:
            scaling.wait_ready(2, Deadline.after(30))
        scaling.wait_ready(0, Deadline.after(60))
    assert load.ledger.unexplained == load.ledger.lost == load.ledger.overall.failed == 0
