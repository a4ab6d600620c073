"""What Pods and KServe say, as a status with KServe's names."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.collector import logger_url
from harness.backends.inference_service import InferenceService, Metadata, Model, ModelFormat, Predictor, Spec
from harness.backends.kubernetes._service import Service
from harness.backends.kubernetes.applied import contents_of, digest, service, wanted_of, workload_name
from harness.backends.kubernetes.plan import Routing, Shape
from harness.backends.kubernetes.pods import alive_revisions, failure_of, ready_revisions, replicas_of
from harness.backends.kubernetes.status import Observed, status_of
from harness.backends.status import Status, settled, why_not


def document(replicas: int = 1) -> InferenceService:
    model = Model(model_format=ModelFormat(name="mlflow"), storage_uri="models:/model/1")
    predictor = Predictor(name="v1", min_replicas=replicas, model=model)
    return InferenceService(metadata=Metadata(name="model", namespace="production-1"), spec=Spec(predictor=predictor))


CANARY = document().with_canary("v2", "models:/model/2", 25)


def pod(revision: str, *, ready: bool = True, content: str = "c", **status: Any) -> dict[str, Any]:
    labels, marks = {"rehearsal.dev/revision": revision}, {"rehearsal.dev/content": content}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": f"pod-{revision}", "labels": labels, "annotations": marks},
        "status": {"conditions": conditions, "podIP": "10.0.0.1", "phase": "Running", **status},
    }


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "kserve-container", "ready": False, "restartCount": state.pop("restarts", 0), **state}]


def observe(pods: list[dict[str, Any]], routing: Routing, ready: frozenset[str], **more: Any) -> Status:
    seen = Observed("v1", ("v2",), {"v1": "c", "v2": "c"}, ready, replicas_of(pods), routing, **more)
    return status_of(seen, host="h", generation=2, observed_generation=2, previous=())


def test_a_service_with_a_ready_canary_is_ready() -> None:
    """Weights are those in effect."""
    found = observe([pod("v1"), pod("v2")], Routing(("v1", "v2"), {"v1": 75, "v2": 25}), frozenset({"v1", "v2"}))
    assert found.ready
    assert settled(found)
    assert found.weights == {"v1": 75, "v2": 25}
    assert found.to_dict()["canaryStatuses"] == [{"name": "v2", "ready": True, "trafficPercent": 25}]


def test_a_broken_canary_leaves_the_service_ready() -> None:
    """Its own status says why, in the words of its container."""
    waiting = container(lastState={"terminated": {"exitCode": 3, "message": "noise\nmodel models:/model/2: no\n"}})
    found = observe(
        [pod("v1"), pod("v2", ready=False, initContainerStatuses=waiting)],
        Routing(("v1",), {"v1": 100}),
        frozenset({"v1"}),
    )
    assert found.ready
    assert why_not(found) == "canary v2: ModelLoadFailed: model models:/model/2: no"


@pytest.mark.parametrize(
    ("status", "reason", "final"),
    [
        (container(state={"waiting": {"reason": "ImagePullBackOff", "message": "m"}}), "ImagePullBackOff", True),
        (container(lastState={"terminated": {"exitCode": 1, "message": "x"}}), "Restarting", False),
        (container(restarts=6, lastState={"terminated": {"exitCode": 1}}), "CrashLoopBackOff", True),
    ],
)
def test_what_waiting_can_mend_is_told_from_what_it_cannot(status: Any, reason: str, final: bool) -> None:
    """Only what is hopeless ends a wait."""
    found = failure_of(replicas_of([pod("v1", ready=False, containerStatuses=status)]), "v1", "c")
    assert found is not None
    assert (found.reason, found.final) == (reason, final)


def test_a_pod_that_finds_no_place_says_so_and_may_still_get_one() -> None:
    """A full cluster is a reason to wait, with a reason."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}]
    unplaced = pod("v1", ready=False) | {"status": {"conditions": conditions}}
    found = failure_of(replicas_of([unplaced]), "v1", "c")
    assert found is not None
    assert (found.message, found.final) == ("no GPU", False)


def test_only_the_wanted_content_in_full_number_is_ready() -> None:
    """A former content is alive, and a Pod that ends is neither."""
    ending = pod("v2")
    ending["metadata"]["deletionTimestamp"] = "now"
    replicas = replicas_of([pod("v1", content="old"), pod("v1"), ending])
    assert ready_revisions(replicas, {"v1": ("c", 2), "v2": ("c", 1)}) == frozenset()
    assert ready_revisions(replicas, {"v1": ("c", 1), "v2": ("c", 1)}) == {"v1"}
    assert alive_revisions(replicas) == {"v1"}


def test_a_switch_that_has_not_reached_the_gateway_is_not_ready() -> None:
    """The predictor's Pods are up, but the old revision still has the traffic."""
    found = observe([pod("v1")], Routing(("v0", "v1"), {"v0": 100}), frozenset({"v1"}))
    assert (found.condition("PredictorReady").status, found.condition("Ready").reason) == ("True", "Switching")


def test_requests_without_a_replica_are_told_once_and_so_is_their_end() -> None:
    """As the embedded world tells it; a revision without traffic is nobody's loss."""
    seen = Service(CANARY)
    seen.routing, seen.reached = Routing(("v1", "v2"), {"v1": 100, "v2": 0}), {"v1"}
    seen.see(replicas_of([pod("v1")]), {})
    assert seen.serving_changed(1.0) is None
    seen.see(replicas_of([pod("v1", ready=False)]), {})
    lost = seen.serving_changed(2.0)
    assert lost is not None
    assert (lost.kind, lost.level, lost.data["revisions"]) == ("service.unserved", "warning", ("v1",))
    assert seen.serving_changed(3.0) is None
    seen.routing = Routing(("v1", "v2"), {"v1": 0, "v2": 100})
    seen.see(replicas_of([pod("v2")]), {})
    assert seen.serving_changed(4.0) is None, "a Pod that is ready is not known to the gateway yet"
    seen.reached.add("v2")
    back = seen.serving_changed(4.5)
    assert back is not None
    assert (back.kind, back.data["since"], back.data["until"]) == ("service.served", 2.0, 4.5)
    assert seen.serving_changed(5.0) is None


def test_the_applied_service_keeps_kserve_from_shrinking_the_predictor() -> None:
    """KServe takes the canaries' replicas off the predictor's minReplicas: they are added."""
    wanted = document(3).with_canary("v2", "models:/model/2", 25)
    applied = service(wanted, Shape("v1", ("v2",)), contents_of(wanted), {"v1": 75, "v2": 25}, {})
    assert applied["spec"]["predictor"]["minReplicas"] == 6
    assert applied["spec"]["canary"][0]["predictor"]["minReplicas"] == 3
    assert applied["spec"]["canary"][0]["trafficPercent"] == 25


def test_pods_do_not_change_with_role_weight_or_split() -> None:
    """What KServe copies to the Pods is the same before and after a promotion."""
    before = service(CANARY, Shape("v1", ("v2",)), contents_of(CANARY), {"v1": 75, "v2": 25}, {"run": "1"})
    promoted = CANARY.promoted("v2")
    after = service(promoted, Shape("v2"), contents_of(promoted), {"v2": 100}, {"run": "1"})
    mirrored = CANARY.with_traffic("v2", 0).with_mirror(50)
    shadowed = service(mirrored, Shape("v1", ("v2",)), contents_of(mirrored), {"v1": 100}, {"run": "1"})
    was, now = before["spec"]["canary"][0]["predictor"], after["spec"]["predictor"]
    assert {key: was[key] for key in ("name", "model", "labels", "annotations")} == {
        key: now[key] for key in ("name", "model", "labels", "annotations")
    }
    assert before["metadata"]["annotations"] == after["metadata"]["annotations"] == shadowed["metadata"]["annotations"]
    assert before["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_a_revisions_content_is_its_model_and_its_logger() -> None:
    """The digest moves when Pods must be made anew, and only then."""
    contents = contents_of(CANARY)
    assert digest(contents["v1"]) != digest(contents["v2"])
    assert digest(contents["v2"]) == digest(contents_of(CANARY.promoted("v2"))["v2"])
    assert digest(contents["v1"]) != digest(contents_of(CANARY.with_logger("http://x"))["v1"])
    assert digest(contents["v1"]) == digest(contents_of(document(5))["v1"])


def test_each_revisions_events_go_to_an_address_of_their_own() -> None:
    """KServe's agent does not tell the revision, so the URL does; another collector's URL stays."""
    url = "http://collector.sys:8080/events/r/REVISION?baseline=v1"
    logged = CANARY.with_logger(url)
    applied = service(logged, Shape("v1", ("v2",)), contents_of(logged), {}, {}, logger_url)
    assert applied["spec"]["predictor"]["logger"]["url"] == "http://collector.sys:8080/events/r/v1?baseline=v1"
    assert applied["spec"]["canary"][0]["predictor"]["logger"]["url"].endswith("/r/v2?baseline=v1")
    assert logger_url("http://mine/REVISION?x", "v1") == "http://mine/REVISION?x"


def test_the_document_says_what_is_wanted() -> None:
    """Shares are the canaries', and annotations say how requests are assigned."""
    assert wanted_of(CANARY).percents == {"v2": 25}
    assert wanted_of(CANARY.with_traffic("v2", 0).with_mirror(30)).copies == 30
    assert workload_name("model", "v2") == "model-v2-predictor"
