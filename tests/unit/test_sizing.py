"""What an autoscaler's number does to what is wanted, routed and retired: pure functions."""

from __future__ import annotations

from typing import Any

from harness.backends.document import parse
from harness.backends.embedded import sizing
from harness.backends.embedded.planner import ReplicaView, Routing, is_ready, plan
from harness.backends.embedded.revisions import Desired, desired
from harness.backends.inference_service import InferenceService
from harness.backends.node import NodeOptions
from harness.lifecycle.autoscaler import Target, TargetKind

STANDBY, A, B = ("127.0.0.1", 9), ("127.0.0.1", 1), ("127.0.0.1", 2)


def document(**predictor: Any) -> InferenceService:
    model = {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/risk/1"}
    return parse(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "risk", "namespace": "production"},
            "spec": {"predictor": {"name": "v1", "model": model, **predictor}},
        }
    )


FROM_ZERO = document(minReplicas=0, maxReplicas=3, scaleMetric="rps", scaleTarget=20)


def wanted(source: InferenceService, size: int, *, proven: bool = True) -> Desired:
    found = desired(source)
    keys = {workload.key for workload in found.workloads} if proven else set()
    return sizing.sized(found, {"v1": size}, sizing.floors(source), keys, STANDBY)


def replica(source: Desired, number: int, state: Any = "ready", address: tuple[str, int] | None = A) -> ReplicaView:
    return ReplicaView(number, "v1", source.predictor.digest, state, address if state == "ready" else None)


def test_the_documents_fields_are_what_the_formula_is_told() -> None:
    """Percent of the request for the replicas' own metrics, a figure of the gateway for the others."""
    cpu = sizing.rules(document(maxReplicas=4), NodeOptions(down_s=7, sync_s=2))["v1"]
    assert (cpu.least, cpu.most, cpu.targets) == (1, 4, (Target("cpu", 80),))
    assert (cpu.down.stabilisation_s, cpu.sync_s) == (7, 2)
    rate = sizing.rules(FROM_ZERO, NodeOptions())["v1"]
    assert (rate.least, rate.targets) == (0, (Target("rps", 20, TargetKind.EXTERNAL_AVERAGE),))
    flying = sizing.rules(document(maxReplicas=4, scaleMetric="concurrency"), NodeOptions())["v1"]
    assert flying.targets == (Target("concurrency", 100, TargetKind.EXTERNAL_AVERAGE),)
    assert sizing.rules(document(minReplicas=2), NodeOptions()) == {}


def test_a_canary_has_a_size_of_its_own_and_keeps_both_from_zero() -> None:
    """A rollout must be able to go back at once, so that neither has none."""
    with_canary = FROM_ZERO.with_canary("v2", "models:/risk/2", 10)
    assert sizing.floors(FROM_ZERO) == {"v1": 0}
    assert sizing.floors(with_canary) == {"v1": 1, "v2": 1}
    assert sizing.first_sizes(with_canary, {"v1": 3}) == {"v1": 3, "v2": 1}
    assert sizing.first_sizes(with_canary.promoted("v2"), {"v1": 3, "v2": 2}) == {"v2": 2}


def test_new_content_begins_with_one_replica_even_where_it_may_have_none() -> None:
    assert sizing.first_sizes(FROM_ZERO, {}) == {"v1": 1}
    assert sizing.first_sizes(FROM_ZERO, {"v1": 0}) == {"v1": 0}
    assert sizing.first_sizes(FROM_ZERO, {"v1": 0}, frozenset({"v1"})) == {"v1": 1}


def test_the_number_changes_no_content() -> None:
    """Replicas of before are replicas of after: the digest is the same."""
    assert wanted(FROM_ZERO, 3).predictor.key == wanted(FROM_ZERO, 0).predictor.key == desired(FROM_ZERO).predictor.key


def test_without_a_replica_requests_are_led_to_who_holds_them_and_it_is_ready() -> None:
    idle = wanted(FROM_ZERO, 0)
    found = plan(idle, [replica(idle, 1)], {}, Routing({"v1": frozenset({A})}, {"v1": 100}), 0.0)
    assert found.routing.endpoints == {"v1": frozenset({STANDBY})}
    assert found.routing.weights == {"v1": 100}
    assert found.routing.idle(STANDBY)
    assert found.retire == (1,)
    assert is_ready(idle.predictor, [])


def test_the_first_replica_takes_over_from_who_held_the_requests() -> None:
    one = wanted(FROM_ZERO, 1)
    held = Routing({"v1": frozenset({STANDBY})}, {"v1": 100})
    begun = plan(one, [replica(one, 2, "starting")], {}, held, 0.0)
    assert begun.routing.endpoints == {"v1": frozenset({STANDBY})}
    assert plan(one, [replica(one, 2)], {}, held, 0.0).routing.endpoints == {"v1": frozenset({A})}


def test_a_model_that_was_never_served_is_not_ready_without_a_replica() -> None:
    """Who applies a document wants to know whether the model loads."""
    assert not is_ready(wanted(FROM_ZERO, 1, proven=False).predictor, [])


def test_a_service_that_grows_stays_ready_with_its_least() -> None:
    """As a Deployment that is scaled out: what it has, serves."""
    growing = wanted(document(minReplicas=1, maxReplicas=4), 4)
    found = plan(growing, [replica(growing, 1)], {}, Routing({"v1": frozenset({A})}, {"v1": 100}), 0.0)
    assert len(found.start) == 3
    assert is_ready(growing.predictor, [replica(growing, 1)])


def test_a_replica_without_a_place_goes_first() -> None:
    """Pending before starting before ready; the oldest one stays."""
    two = wanted(document(minReplicas=1, maxReplicas=4), 2)
    views = [replica(two, 1, "pending"), replica(two, 2), replica(two, 3, "starting"), replica(two, 4, address=B)]
    found = plan(two, views, {}, Routing({"v1": frozenset({A})}, {"v1": 100}), 0.0)
    assert found.start == ()
    assert sorted(found.retire) == [1, 3]
    assert found.routing.endpoints == {"v1": frozenset({A, B})}
