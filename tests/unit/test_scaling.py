"""How a service scaled: what the cluster's objects say, the record of a load, and what the page shows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from harness._scaling import Scaling
from harness.backends import scaling
from harness.backends.backend import Capability
from harness.backends.document import parse
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.backend import IN_THE_EMBEDDED_WORLD
from harness.backends.kubernetes.scale_watch import DEPLOYMENT, HPA, METRICS, POD, Sight, spec_of
from harness.backends.local_backend import IN_A_CLUSTER
from harness.backends.quantities import quantity
from harness.errors import CapabilityMissing, DocumentError, WaitTimeout
from harness.lifecycle.autoscaler import DOWN, UP, AutoscalerSpec, Look, MetricsModel, Policy, PolicyKind, Rules, Target
from harness.report.record import LoadRecord
from harness.report.render import page
from harness.runtime.clock import Deadline
from tests.unit import sample_record

LOAD = LoadRecord(
    name="load-1", service="production/risk", target_rps=100, achieved_rps=100, started_at=1000.0, duration_s=60.0,
    sent=6000, classes={}, unexplained=0, latency=[], ledger="ledger.parquet",
)  # fmt: skip


def hpa(utilisation: int | None = None, desired: int = 1) -> dict[str, Any]:
    current = [] if utilisation is None else [{"resource": {"current": {"averageUtilization": utilisation}}}]
    target = {"type": "Utilization", "averageUtilization": 60}
    return {
        "spec": {
            "minReplicas": 1, "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15}]},
                "scaleDown": {"selectPolicy": "Max", "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15}]},
            },
        },
        "status": {"desiredReplicas": desired, "currentMetrics": current},
    }  # fmt: skip


def deployment(ready: int, failure: str = "") -> dict[str, Any]:
    failed = [{"type": "ReplicaFailure", "status": "True", "message": failure}] if failure else []
    return {"status": {"readyReplicas": ready, "conditions": failed}}


def pod(name: str, unplaced: str = "") -> dict[str, Any]:
    placed = {"type": "PodScheduled", "status": "False" if unplaced else "True", "message": unplaced}
    container = {"resources": {"requests": {"cpu": "200m"}}}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}, "status": {"conditions": [placed]}}


def test_an_autoscaler_object_is_read_as_the_spec_that_the_formula_takes() -> None:
    """KServe leaves the scale-down window to the controller's flag, which no object shows."""
    assert spec_of(hpa(), sync_s=15, down_s=300) == AutoscalerSpec(1, 4, (Target("cpu", 60),), up=UP, down=DOWN)
    assert spec_of(hpa(), down_s=30).down == Rules(30, (Policy(PolicyKind.PERCENT, 100, 15),))


def test_a_look_is_a_change_of_metric_or_counts_and_nothing_else() -> None:
    sight = Sight()
    for at, kind, found in (
        (1.0, DEPLOYMENT, deployment(1)),
        (2.0, HPA, hpa()),
        (3.0, HPA, hpa(90)),
        (4.0, HPA, hpa(90)),
        (5.0, HPA, hpa(90, desired=2)),
        (6.0, DEPLOYMENT, deployment(2)),
    ):
        sight.take(kind, found, gone=False, at=at)
    assert sight.looks == [Look(2.0, None, 1, 1), Look(3.0, 90, 1, 1), Look(5.0, 90, 2, 1), Look(6.0, 90, 2, 2)]


def test_what_keeps_replicas_from_starting_is_kept_with_the_schedulers_and_the_quotas_words() -> None:
    sight = Sight()
    sight.take(POD, pod("a", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), gone=False, at=1)
    sight.take(DEPLOYMENT, deployment(1, "pods is forbidden: exceeded quota: stage"), gone=False, at=2)
    assert sight.pending == {"a": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}
    sight.take(POD, pod("a"), gone=False, at=3)
    assert sight.pending == {}
    assert list(sight.blocked.values()) == [
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "pods is forbidden: exceeded quota: stage",
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("200m", 0.2), ("2", 2), ("128Mi", 2**27), ("3k", 3000), ("1500u", 0.0015)]
)
def test_quantities_are_numbers(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@dataclass
class Seen:
    """A service that was watched: 0.4 cores under load, replicas of 0.2 at 60 %."""

    found: list[Look] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def looks(self) -> list[Look]:
        return self.found

    def blocked(self) -> list[str]:
        return self.why

    def ready(self) -> int:
        return 1

    def request_cores(self) -> float:
        return 0.2

    def spec(self) -> AutoscalerSpec:
        return spec_of(hpa())

    def metrics(self) -> MetricsModel:
        return METRICS

    def close(self) -> None: ...


SEEN = [
    Look(990.0, 1, 1, 1), Look(1012.0, 200, 1, 1), Look(1013.0, 200, 4, 1), Look(1018.0, 200, 4, 2),
    Look(1021.0, 200, 4, 4), Look(1040.0, 50, 4, 4), Look(1075.0, 1, 4, 4), Look(1100.0, 1, 1, 4),
    Look(1104.0, 1, 1, 1),
]  # fmt: skip


def test_a_loads_reaction_times_are_measured_from_its_begin_and_stand_beside_the_predicted_ones() -> None:
    record = Scaling("production/risk", Seen(SEEN)).record(LOAD)
    measured = record.measured
    assert (measured.metric_s, measured.decided_s, measured.first_s, measured.ready_s) == (12.0, 13.0, 18.0, 21.0)
    assert (measured.peak, measured.back_s) == (4, 44.0)
    assert record.cpu_ms_per_request == pytest.approx(4.0), "50 % of 0.2 cores by 4 replicas, at 100 rps"
    assert record.start_s == 5.0
    assert record.predicted is not None
    assert record.predicted.peak == 4, "67 % of three (thousandths are rounded up) is beyond the tolerance of 60 %"
    assert record.predicted.back_s == pytest.approx(44, abs=15)


def test_a_load_that_shows_no_metric_has_no_prediction() -> None:
    record = Scaling("production/risk", Seen([Look(1000.0, None, 1, 1)], ["Insufficient nvidia.com/gpu"])).record(LOAD)
    assert record.predicted is None
    assert record.blocked == ["Insufficient nvidia.com/gpu"]


def test_waiting_for_a_replica_that_cannot_start_says_what_is_in_the_way() -> None:
    with pytest.raises(WaitTimeout, match=r"1 ready; Insufficient nvidia\.com/gpu"):
        Scaling("s", Seen(why=["Insufficient nvidia.com/gpu"])).wait_ready(2, Deadline.after(0))


def test_the_page_has_measured_and_predicted_times_side_by_side_and_what_was_in_the_way() -> None:
    record = sample_record.passed()
    record.scaling = [Scaling("production/risk", Seen(SEEN, ["1 Insufficient <gpu>"])).record(LOAD)]
    text = page(record)
    assert "production/risk went from 1 to 4 replicas and back" in text
    assert "More replicas were asked for" in text
    assert "1 Insufficient &lt;gpu&gt;" in text
    assert 'id="scaling-1-replicas-t"' in text
    assert 'href="#scaling"' in text


def sized_document(**predictor: Any) -> InferenceService:
    model = {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/risk/1", **predictor.pop("model", {})}
    return parse(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "risk", "namespace": "production"},
            "spec": {"predictor": {"name": "v1", "model": model, **predictor}},
        }
    )


@pytest.mark.parametrize(
    ("document", "embedded", "cluster"),
    [
        (sized_document(minReplicas=3), "", ""),
        (sized_document(maxReplicas=3), "", ""),
        (sized_document(maxReplicas=3, scaleMetric="concurrency"), "", "autoscaling by requests"),
        (sized_document(maxReplicas=3, scaleMetric="rps"), "", "autoscaling by requests"),
        (sized_document(model={"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 1}}}), "", ""),
        (sized_document(model={"resources": {"limits": {"memory": "1Gi"}}}), "CPU and memory limits", ""),
    ],
)
def test_what_a_world_cannot_do_with_a_documents_size_is_named(
    document: InferenceService, embedded: str, cluster: str
) -> None:
    """One document for every world: where it is not honoured it is refused by the capability's name."""
    for missing, told in ((IN_A_CLUSTER, embedded), (IN_THE_EMBEDDED_WORLD, cluster)):
        lacking = [capability for capability in scaling.needs(document) if capability in missing]
        assert [capability.value for capability in lacking] == ([told] if told else [])
        if told:
            with pytest.raises(CapabilityMissing, match=told):
                scaling.require(document, missing)


def test_a_least_of_zero_takes_a_world_that_holds_requests() -> None:
    document = sized_document(minReplicas=0, maxReplicas=3, scaleMetric="rps")
    assert Capability.SCALE_TO_ZERO in scaling.needs(document)
    assert Capability.SCALE_TO_ZERO in IN_THE_EMBEDDED_WORLD


def test_the_class_hpa_takes_no_metric_that_an_hpa_does_not_know() -> None:
    """KServe's webhook refuses it, so that it would not be valid in a cluster."""
    document = sized_document(maxReplicas=3, scaleMetric="rps").to_dict()
    document["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "hpa"}
    with pytest.raises(DocumentError, match="scaleMetric: the class hpa knows cpu and memory, got 'rps'"):
        parse(document)
