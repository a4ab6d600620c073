"""What every backend must do, asked through the platform alone: a later backend is done when this passes unchanged.

A capability that a backend lacks is a skip with its reason.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.errors import DocumentError, RequestFailed, ServiceFailed
from harness.lifecycle.dataset import Dataset
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service, inference_service

MANIFEST = Path(__file__).parents[2] / "manifests/inferenceservice/minimal.yaml"


@pytest.fixture
def model(platform: Platform, high_utiliser: Dataset) -> ModelVersion:
    """A registered version."""
    return platform.train(high_utiliser, max_depth=3)


@pytest.fixture
def service(platform: Platform, model: ModelVersion) -> Service:
    """The version, served in production."""
    return platform.deploy(model)


def rows(platform: Platform, model: ModelVersion, count: int = 20) -> list[list[Any]]:
    drawn: list[list[Any]] = platform.sample(model, [{"name": "some", "rows": count}])["some"]["rows"]
    return drawn


def test_versions_count_up_and_aliases_move(platform: Platform, high_utiliser: Dataset, model: ModelVersion) -> None:
    second = platform.train(high_utiliser, max_depth=4)
    platform.promote(model, "champion")
    platform.promote(second, "champion")
    assert (model.version, second.version) == (1, 2)
    assert platform.registry.aliases(model.name) == {"candidate": 2, "champion": 2}


def test_two_platforms_share_no_registry(platform: Platform, model: ModelVersion) -> None:
    assert model.version == 1, "the registry of a new platform was not empty"


def test_both_protocols_give_the_same_answers(platform: Platform, service: Service, model: ModelVersion) -> None:
    asked = rows(platform, model)
    assert service.predict(asked, protocol="v1") == pytest.approx(service.predict(asked, protocol="v2"), abs=1e-12)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_a_wrong_number_of_features_is_a_400_that_says_so(service: Service, protocol: Any) -> None:
    with pytest.raises(RequestFailed, match=r"expected .*9.*log_coinsurance.*, got") as refused:
        service.predict([[1.0, 2.0]], protocol=protocol)
    assert refused.value.status == 400


def test_a_ready_service_has_kserves_conditions_and_generation(service: Service) -> None:
    status = service.status()
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions["Ready"] == conditions["PredictorReady"] == "True"
    assert status["observedGeneration"] == 1
    assert service.host in status["url"]


def test_namespaces_serve_apart(platform: Platform, high_utiliser: Dataset, model: ModelVersion) -> None:
    """One name in staging and in production is two services, and deleting one leaves the other."""
    other = platform.train(high_utiliser, max_depth=1)
    asked = rows(platform, model)
    production, staging = platform.deploy(model), platform.deploy(other, namespace="staging")
    before = production.predict(asked)
    assert staging.predict(asked) != before
    staging.delete()
    assert production.predict(asked) == before
    with pytest.raises(RequestFailed):
        staging.predict(asked)


def test_a_canary_gets_its_share_and_the_gateway_counts_it(
    platform: Platform, high_utiliser: Dataset, service: Service
) -> None:
    canary = platform.train(high_utiliser, max_depth=5)
    service.apply(service.document.with_canary("v2", canary.uri, 50))
    with platform.load(service, rps=200) as load:
        wait(lambda: _requests(service) >= 300, what="300 requests", deadline=Deadline.after(30))
    assert load.ledger.unexplained == load.ledger.lost == 0
    assert load.ledger.answered("v2") == pytest.approx(load.ledger.sent / 2, rel=0.35)
    assert _requests(service) == load.ledger.sent


def test_promotion_by_name_and_rollback_by_dropping_lose_nothing(
    platform: Platform, high_utiliser: Dataset, service: Service
) -> None:
    """KServe's way: the predictor takes the canary's name; or the canary's entry is dropped."""
    second = platform.train(high_utiliser, max_depth=5)
    with platform.load(service, rps=100) as load:
        service.apply(service.document.with_canary("v2", second.uri, 50))
        service.apply(service.document.without_canary("v2"))
        service.apply(service.document.with_canary("v2", second.uri, 100))
        service.apply(service.document.promoted("v2"))
        assert service.revision == "v2"
    assert load.ledger.unexplained == load.ledger.lost == 0
    assert all(latency.failed == 0 for latency in load.ledger.latency)


def test_a_canary_that_cannot_load_leaves_the_baseline_serving(
    platform: Platform, service: Service, model: ModelVersion
) -> None:
    asked = rows(platform, model)
    with pytest.raises(ServiceFailed, match="99"):
        service.apply(service.document.with_canary("v99", f"models:/{model.name}/99", 50))
    assert service.client.ask(asked).revision == service.revision


def test_a_manifest_is_served_as_it_stands(platform: Platform, model: ModelVersion) -> None:
    service = platform.apply(MANIFEST, model=model)
    assert platform.smoke(service, model, rows=20).mismatches == 0


def test_a_field_that_is_not_honoured_is_refused_by_name(platform: Platform, model: ModelVersion) -> None:
    document = inference_service(model, name="refused", namespace="production", replicas=1).to_dict()
    unknown = copy.deepcopy(document)
    unknown["spec"]["predictor"]["nodeSelector"] = {"gpu": "yes"}
    with pytest.raises(DocumentError, match=r"spec\.predictor\.nodeSelector"):
        platform.apply(unknown)


def test_prometheus_has_the_series_that_every_world_has(
    platform: Platform, service: Service, model: ModelVersion
) -> None:
    platform.require(Capability.METRICS)
    platform.query("vector(1)")  # starts it, so that the requests below are scraped
    service.predict(rows(platform, model))
    query = f'rehearsal:requests:total{{service="{service.name}",namespace="{service.namespace}"}}'
    wait(lambda: sum(platform.query(query).values()) >= 1, what="a scrape", deadline=Deadline.after(20), every_s=0.2)


def _requests(service: Service) -> int:
    return sum(count.requests for count in service.counts(100))
