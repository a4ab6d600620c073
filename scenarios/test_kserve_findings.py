"""What KServe 0.20 does to requests when it is left alone: faults that a release on it must know of.

Each one is shown on the real controller, and goes into the report as a finding against the version that it was shown
on. A version that mends one makes its scenario fail: then the finding goes, and perhaps the part of our router that
spares users from it.
"""

from __future__ import annotations

import pytest

from harness import Platform
from harness.backends.backend import Capability, Part
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.alone import LeftToKServe
from harness.backends.kubernetes.entrances import AGENT_PORT, MODEL_PORT
from harness.lifecycle.dataset import Dataset
from harness.model_version import ModelVersion
from harness.report.record import UpstreamFinding
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import inference_service
from scenarios.kserve_alone import Clients

START_S, UP_S = 300.0, 120.0
RPS = 100
NOBODY = "http://127.0.0.1:9"
"""Where a logger's events are refused, which its agent bears."""


@pytest.fixture
def versions(platform: Platform, high_utiliser: Dataset) -> tuple[ModelVersion, ModelVersion]:
    """Two versions that answer the same row differently."""
    platform.require(Capability.KSERVE)
    platform.start(Part.SERVING, deadline=Deadline.after(START_S))
    return platform.train(high_utiliser, max_depth=1), platform.train(high_utiliser, max_depth=6)


@pytest.fixture
def document(platform: Platform, versions: tuple[ModelVersion, ModelVersion]) -> InferenceService:
    """The first version as predictor v1, the second as canary v2."""
    namespace = platform.backend.namespace("production")
    served = inference_service(versions[0], name="alone", namespace=namespace, replicas=1)
    return served.with_canary("v2", versions[1].uri, 0)


def clients(platform: Platform, alone: LeftToKServe, model: ModelVersion) -> Clients:
    rows = platform.sample(model, [{"name": "some", "rows": 1}])["some"]["rows"]
    return Clients(alone.url, alone.host, "/v1/models/alone:predict", rows, RPS)


def found(platform: Platform, alone: LeftToKServe, title: str, shown: str, instead: str) -> None:
    """Write a finding against this KServe into the run's record."""
    finding = UpstreamFinding(program="KServe", version=alone.version, title=title, shown=shown, instead=instead)
    platform.run.record.upstream.append(finding)


def test_kserves_own_promotion_loses_requests(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """The predictor takes the canary's name: the old Service goes before KServe's route leads to the new one."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1", {"v2": 50})
    alone.wait_up("v1", "v2", deadline=Deadline.after(UP_S))
    with clients(platform, alone, versions[0]) as load:
        wait(lambda: len(load.sent) >= 3 * RPS, what="requests before", deadline=Deadline.after(UP_S))
        alone.tell("v2")
        before = len(load.sent)
        wait(lambda: len(load.sent) >= before + 6 * RPS, what="requests after", deadline=Deadline.after(UP_S))
    alone.delete()
    assert load.lost() > 0, "KServe promotes without a loss now: this finding is history"
    shown = f"{load.lost()} of {len(load.sent)} requests failed at {RPS} a second, over {load.outage_s():.2f} s"
    instead = "all traffic goes to the canary by a route of ours first; KServe is told after that"
    found(platform, alone, "a promotion by predictor.name loses requests", shown, instead)


def test_a_direct_switch_is_an_outage(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """The predictor gets a new name and model at once: the old Deployment is deleted before the new one is ready."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1")
    alone.wait_up("v1", deadline=Deadline.after(UP_S))
    with clients(platform, alone, versions[0]) as load:
        wait(lambda: len(load.sent) >= 2 * RPS, what="requests before", deadline=Deadline.after(UP_S))
        alone.tell("v2")
        alone.wait_up("v2", deadline=Deadline.after(UP_S))
        before = len(load.sent)
        wait(lambda: len(load.sent) >= before + 3 * RPS, what="requests after", deadline=Deadline.after(UP_S))
    alone.delete()
    assert load.outage_s() > 0.5, "KServe keeps the old Deployment until the new one is ready now"
    shown = f"{load.lost()} of {len(load.sent)} requests failed, an outage of {load.outage_s():.1f} s"
    instead = "a new predictor is brought up as a canary first, and becomes the predictor when it has the traffic"
    found(platform, alone, "changing predictor.name deletes the old Deployment at once", shown, instead)


def test_traffic_percents_are_ignored(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """Neither canaryTrafficPercent nor spec.canary[].trafficPercent splits anything in Standard mode."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1", {"v2": 50})
    alone.wait_up("v1", "v2", deadline=Deadline.after(UP_S))
    with clients(platform, alone, versions[0]) as split:
        wait(lambda: len(split.sent) >= 5 * RPS, what="requests to a canary of 50 %", deadline=Deadline.after(UP_S))
    before = alone.pods("v1")
    alone.tell("v1", canaryTrafficPercent=10, model={**_model(document), "storageUri": versions[1].uri})
    wait(lambda: alone.pods("v1").isdisjoint(before), what="the rolling update", deadline=Deadline.after(UP_S))
    alone.wait_up("v1", deadline=Deadline.after(UP_S))
    with clients(platform, alone, versions[0]) as switched:
        wait(lambda: len(switched.sent) >= 5 * RPS, what="requests after", deadline=Deadline.after(UP_S))
    alone.delete()
    of_old = split.sent[0].prediction
    canary = sum(each.prediction != of_old for each in split.sent)
    new = sum(each.prediction != of_old for each in switched.sent)
    assert canary == 0, "KServe splits by spec.canary[].trafficPercent now"
    assert new == len(switched.sent), "KServe splits by canaryTrafficPercent now"
    shown = (
        f"{canary} of {len(split.sent)} requests went to a canary of 50 %; "
        f"{new} of {len(switched.sent)} to a new model with canaryTrafficPercent 10"
    )
    instead = "the weights are those of an HTTPRoute of ours; canaryTrafficPercent is refused by name"
    found(platform, alone, "traffic percents are silently ignored in Standard mode", shown, instead)


def test_a_logger_that_is_added_is_an_outage(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """The Service leads to the agent's port at once; the first Pod with an agent comes seconds later."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1")
    alone.wait_up("v1", deadline=Deadline.after(UP_S))
    with clients(platform, alone, versions[0]) as load:
        wait(lambda: len(load.sent) >= 2 * RPS, what="requests before", deadline=Deadline.after(UP_S))
        alone.tell("v1", logger={"mode": "response", "url": NOBODY})
        alone.wait_up("v1", deadline=Deadline.after(UP_S))
        before = len(load.sent)
        wait(lambda: len(load.sent) >= before + 3 * RPS, what="requests after", deadline=Deadline.after(UP_S))
    alone.delete()
    assert load.lost() > 0, "KServe adds a logger without a loss now"
    shown = f"{load.lost()} of {len(load.sent)} requests failed, an outage of {load.outage_s():.1f} s"
    instead = "the routes lead to a Service of ours, which takes the agent's port when each ready Pod has an agent"
    found(platform, alone, "a logger that is added refuses requests until new Pods are ready", shown, instead)


def test_a_canarys_logger_is_passed_by(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """The canary's Pods get an agent, and its Service leads past it."""
    alone = platform.backend.left_to_kserve(document.with_logger(NOBODY))
    alone.tell("v1", {"v2": 50})
    alone.wait_up("v1", "v2", deadline=Deadline.after(UP_S))
    ports = {revision: alone.service_port(revision) for revision in ("v1", "v2")}
    alone.delete()
    assert ports == {"v1": AGENT_PORT, "v2": MODEL_PORT}, "KServe sends a canary's requests through its logger now"
    shown = f"both revisions log; the predictor's Service leads to port {ports['v1']}, the canary's to {ports['v2']}"
    instead = "the canary's requests go through its agent by a Service of ours"
    found(platform, alone, "a canary's logger sees no request", shown, instead)


def test_the_predictor_is_scaled_down_before_the_canary_is_ready(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """KServe takes the canary's replicas off the predictor's at once; of a canary that never comes, nothing is got."""
    nowhere = document.with_canary("v2", f"models:/{versions[1].name}/99", 50)
    alone = platform.backend.left_to_kserve(nowhere)
    alone.tell("v1", minReplicas=2)
    alone.wait_up("v1", deadline=Deadline.after(UP_S))
    before = alone.ready_pods("v1")
    with clients(platform, alone, versions[0]) as load:
        wait(lambda: len(load.sent) >= 2 * RPS, what="requests before", deadline=Deadline.after(UP_S))
        alone.tell("v1", {"v2": 50}, minReplicas=2)
        wait(lambda: alone.pods("v2"), what="a Pod of the canary", deadline=Deadline.after(UP_S))
        told = len(load.sent)
        wait(lambda: len(load.sent) >= told + 6 * RPS, what="requests after", deadline=Deadline.after(UP_S))
    after, canary = alone.ready_pods("v1"), alone.ready_pods("v2")
    alone.delete()
    assert (before, canary) == (2, 0)
    assert after == 1, "KServe keeps the predictor's replicas until the canary is ready now"
    shown = (
        f"{before} ready Pods became {after} while a canary of 50 % had {canary} of 1; "
        f"{load.lost()} of {len(load.sent)} requests failed at {RPS} a second"
    )
    instead = "the predictor is told the canaries' replicas on top of its own"
    found(platform, alone, "the predictor loses replicas to a canary that is not ready", shown, instead)


def test_a_promotion_leaves_a_route_to_nowhere(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """The old predictor's own HTTPRoute outlives its Service: its host name answers errors from then on."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1", {"v2": 50})
    alone.wait_up("v1", "v2", deadline=Deadline.after(UP_S))
    host = alone.routed_to("v1")
    wait(lambda: alone.status_of(host) == 200, what="the predictor's own host", deadline=Deadline.after(UP_S))
    alone.tell("v2")
    alone.wait_gone("v1", Deadline.after(UP_S))
    alone.wait_up("v2", deadline=Deadline.after(UP_S))
    wait(lambda: alone.routed_to("v2"), what="a route of the new predictor", deadline=Deadline.after(UP_S))
    wait(lambda: alone.status_of(host) != 200, what="the gateway has seen it", deadline=Deadline.after(UP_S))
    left, status = alone.routed_to("v1"), alone.status_of(host)
    alone.delete()
    assert left == host, "KServe removes the old predictor's route now"
    shown = f"the HTTPRoute of v1 is there after its Service is gone, and {host} answers {status}"
    instead = "requests go by routes of ours, which are removed with what they lead to"
    found(platform, alone, "a promotion leaves the old predictor's HTTPRoute behind", shown, instead)


def test_an_inference_graph_gets_no_route(
    platform: Platform, versions: tuple[ModelVersion, ModelVersion], document: InferenceService
) -> None:
    """It is ready, and has an address by its status; with the Gateway API nothing leads there."""
    alone = platform.backend.left_to_kserve(document)
    alone.tell("v1")
    alone.wait_up("v1", deadline=Deadline.after(UP_S))
    alone.tell_graph("graph")
    host = alone.wait_graph_ready("graph", Deadline.after(UP_S))
    routes, status = alone.routes_to("graph"), alone.status_of(host)
    of_service = alone.routes_to("alone-v1-predictor")
    alone.delete()
    assert of_service > 0
    assert (routes, status) == (0, 404), "KServe makes a route for an InferenceGraph now"
    shown = f"the graph is ready, {routes} HTTPRoutes lead to it, and {host} answers {status}"
    instead = "graphs are not rehearsed: an InferenceService is what is released"
    found(platform, alone, "an InferenceGraph in Standard mode gets no HTTPRoute", shown, instead)


def _model(document: InferenceService) -> dict[str, object]:
    return document.spec.predictor.model.model_dump(by_alias=True, exclude_none=True, exclude={"env"})
