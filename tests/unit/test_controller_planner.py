"""The controller's decisions, without a process: what is started, routed and retired, and in which order."""

from __future__ import annotations

import pytest

from harness.backends.document import parse
from harness.backends.embedded.planner import (
    MAX_RESTARTS,
    Failure,
    ReplicaView,
    Routing,
    after_death,
    plan,
)
from harness.backends.embedded.revisions import Workload, desired
from harness.backends.inference_service import InferenceService

A, B, C = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)


def document(revision: str = "v1", uri: str = "models:/risk/1", replicas: int = 1) -> InferenceService:
    model = {"modelFormat": {"name": "mlflow"}, "storageUri": uri}
    return parse(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "risk", "namespace": "production"},
            "spec": {"predictor": {"name": revision, "minReplicas": replicas, "model": model}},
        }
    )


def canary(percent: int = 10) -> InferenceService:
    return document().with_canary("v2", "models:/risk/2", percent)


def ready(number: int, workload: Workload, address: tuple[str, int]) -> ReplicaView:
    return ReplicaView(number, workload.name, workload.digest, "ready", address)


def starting(number: int, workload: Workload) -> ReplicaView:
    return ReplicaView(number, workload.name, workload.digest, "starting")


def gave_up(workload: Workload) -> dict[tuple[str, str], Failure]:
    return {workload.key: Failure(1, "ModelLoadFailed", "no such version", True, 0.0)}


SERVING = Routing({"v1": frozenset({A})}, {"v1": 100})


def test_a_new_service_starts_its_replicas_and_routes_nothing_yet() -> None:
    """Nothing is routed to a process that is not ready."""
    found = plan(desired(document(replicas=2)), [], {}, Routing(), 0.0)
    assert [workload.name for workload in found.start] == ["v1", "v1"]
    assert found.routing == Routing({}, {})


def test_a_ready_predictor_gets_all_traffic() -> None:
    """Ready -> routed."""
    wanted = desired(document())
    assert plan(wanted, [ready(1, wanted.predictor, A)], {}, Routing(), 0.0).routing == SERVING


def test_an_unchanged_service_needs_nothing() -> None:
    """The same document again is a no-op."""
    wanted = desired(document())
    found = plan(wanted, [ready(1, wanted.predictor, A)], {}, SERVING, 0.0)
    assert (found.start, found.routing, found.retire, found.wake_at) == ((), SERVING, (), None)


def test_a_canary_gets_its_share_only_when_it_is_ready() -> None:
    """Started first, weighted later."""
    wanted = desired(canary(10))
    before = plan(wanted, [ready(1, wanted.predictor, A)], {}, SERVING, 0.0)
    assert [workload.name for workload in before.start] == ["v2"]
    assert before.routing.weights == {"v1": 100}
    replicas = [ready(1, wanted.predictor, A), ready(2, wanted.canaries[0], B)]
    assert plan(wanted, replicas, {}, before.routing, 0.0).routing.weights == {"v1": 90, "v2": 10}


def test_a_canary_of_two_replicas_waits_for_both() -> None:
    """Half a canary would be measured at half its size."""
    entry = canary(10).spec.canary[0]
    wider = entry.model_copy(update={"predictor": entry.predictor.model_copy(update={"min_replicas": 2})})
    base = canary(10)
    wanted = desired(base.model_copy(update={"spec": base.spec.model_copy(update={"canary": [wider]})}))
    one = [ready(1, wanted.predictor, A), ready(2, wanted.canaries[0], B), starting(3, wanted.canaries[0])]
    assert plan(wanted, one, {}, SERVING, 0.0).routing.weights == {"v1": 100}


def test_promotion_keeps_the_canarys_replica_and_retires_the_old_predictor() -> None:
    """Identity is name and content, not the role: nothing is started."""
    old = desired(canary(50))
    replicas = [ready(1, old.predictor, A), ready(2, old.canaries[0], B)]
    current = Routing({"v1": frozenset({A}), "v2": frozenset({B})}, {"v1": 50, "v2": 50})
    found = plan(desired(canary(50).promoted("v2")), replicas, {}, current, 0.0)
    assert found.start == ()
    assert found.routing.weights == {"v2": 100}
    assert found.retire == (1,)


def test_rollback_takes_the_weight_before_it_retires_the_canary() -> None:
    """The plan's order is route, then retire; the routing has no canary any more."""
    old = desired(canary(50))
    replicas = [ready(1, old.predictor, A), ready(2, old.canaries[0], B)]
    current = Routing({"v1": frozenset({A}), "v2": frozenset({B})}, {"v1": 50, "v2": 50})
    found = plan(desired(document()), replicas, {}, current, 0.0)
    assert found.routing == SERVING
    assert found.retire == (2,)


def test_a_broken_canary_leaves_the_baseline_all_the_traffic() -> None:
    """It is not started again, and takes no share."""
    wanted = desired(canary(50))
    found = plan(wanted, [ready(1, wanted.predictor, A)], gave_up(wanted.canaries[0]), SERVING, 0.0)
    assert found.start == ()
    assert found.routing == SERVING


def test_a_canary_that_died_loses_its_share_while_it_is_started_again() -> None:
    """The baseline takes over at once."""
    wanted = desired(canary(50))
    current = Routing({"v1": frozenset({A}), "v2": frozenset({B})}, {"v1": 50, "v2": 50})
    dead = {wanted.canaries[0].key: Failure(1, "ReplicaDied", "killed", False, 0.0)}
    found = plan(wanted, [ready(1, wanted.predictor, A)], dead, current, 0.0)
    assert [workload.name for workload in found.start] == ["v2"]
    assert found.routing.weights == {"v1": 100}


def test_a_new_predictor_name_without_a_canary_keeps_the_old_one_serving() -> None:
    """Upstream deletes the old Deployment at once and is out for seconds; here the old serves until then."""
    old = desired(document())
    new = desired(document("v3", "models:/risk/3"))
    replicas = [ready(1, old.predictor, A)]
    before = plan(new, replicas, {}, SERVING, 0.0)
    assert before.routing == SERVING
    assert before.retire == ()
    after = plan(new, [*replicas, ready(2, new.predictor, B)], {}, before.routing, 0.0)
    assert after.routing == Routing({"v3": frozenset({B})}, {"v3": 100})
    assert after.retire == (1,)


def test_new_content_under_the_same_name_replaces_replicas_without_a_gap() -> None:
    """Old replicas carry the traffic until every new one is ready."""
    old = desired(document())
    new = desired(document(uri="models:/risk/9"))
    replicas = [ready(1, old.predictor, A), starting(2, new.predictor)]
    before = plan(new, replicas, {}, SERVING, 0.0)
    assert (before.routing, before.retire) == (SERVING, ())
    after = plan(new, [ready(1, old.predictor, A), ready(2, new.predictor, B)], {}, SERVING, 0.0)
    assert after.routing.endpoints == {"v1": frozenset({B})}
    assert after.retire == (1,)


def test_new_content_that_cannot_load_leaves_the_old_serving() -> None:
    """A bad storageUri never costs a request."""
    old = desired(document())
    new = desired(document(uri="models:/risk/9"))
    found = plan(new, [ready(1, old.predictor, A)], gave_up(new.predictor), SERVING, 0.0)
    assert (found.start, found.routing, found.retire) == ((), SERVING, ())


def test_one_of_two_dead_replicas_is_taken_out_of_the_routes_at_once() -> None:
    """The other carries on while a new one starts."""
    wanted = desired(document(replicas=2))
    current = Routing({"v1": frozenset({A, B})}, {"v1": 100})
    found = plan(wanted, [ready(1, wanted.predictor, A)], {}, current, 0.0)
    assert found.routing.endpoints == {"v1": frozenset({A})}
    assert [workload.name for workload in found.start] == ["v1"]


def test_the_last_dead_replica_keeps_its_place_until_it_is_replaced() -> None:
    """The gateway's retries on a refused connection bridge the restart; without an address it could only say 503."""
    wanted = desired(document())
    dead = {wanted.predictor.key: Failure(1, "ReplicaDied", "killed", False, 0.0)}
    found = plan(wanted, [], dead, SERVING, 0.0)
    assert found.routing == SERVING
    assert len(found.start) == 1
    assert plan(wanted, [ready(2, wanted.predictor, C)], dead, SERVING, 0.0).routing.endpoints == {"v1": frozenset({C})}


def test_fewer_replicas_retires_the_newest() -> None:
    """Scaling down is routed first, too."""
    wanted = desired(document(replicas=1))
    replicas = [ready(1, wanted.predictor, A), ready(2, wanted.predictor, B)]
    found = plan(wanted, replicas, {}, SERVING, 0.0)
    assert found.retire == (2,)
    assert found.routing.endpoints == {"v1": frozenset({A})}


def test_fewer_replicas_keeps_the_one_that_serves() -> None:
    """The older one is being started again after a death: retiring the only ready one would be an outage."""
    wanted = desired(document(replicas=1))
    replicas = [starting(1, wanted.predictor), ready(2, wanted.predictor, B)]
    found = plan(wanted, replicas, {}, SERVING, 0.0)
    assert found.retire == (1,)
    assert found.routing.endpoints == {"v1": frozenset({B})}


def test_a_canarys_surplus_replica_is_not_routed_while_the_predictor_cannot_serve() -> None:
    """The canary carries the traffic, with the replicas that it is to have."""
    wanted = desired(canary(50))
    replicas = [ready(1, wanted.canaries[0], A), ready(2, wanted.canaries[0], B)]
    current = Routing({"v1": frozenset({C}), "v2": frozenset({A, B})}, {"v1": 50, "v2": 50})
    found = plan(wanted, replicas, {}, current, 0.0)
    assert found.routing == Routing({"v2": frozenset({A})}, {"v2": 100})
    assert found.retire == (2,)


def mirrored(percent: int = 100) -> InferenceService:
    return canary(0).with_mirror(percent)


def by_header() -> InferenceService:
    return canary(0).with_split_by("header x-variant=b")


@pytest.mark.parametrize("document", [mirrored(), by_header()], ids=["mirror", "header"])
def test_a_canary_of_its_own_gets_requests_only_when_it_is_ready(document: InferenceService) -> None:
    """Copies, or what a header chooses: the baseline keeps its hundred percent."""
    wanted = desired(document)
    before = plan(wanted, [ready(1, wanted.predictor, A), starting(2, wanted.canaries[0])], {}, SERVING, 0.0)
    assert (before.routing.weights, before.routing.apart, before.routing.copies) == ({"v1": 100}, "", 0)
    replicas = [ready(1, wanted.predictor, A), ready(2, wanted.canaries[0], B)]
    after = plan(wanted, replicas, {}, before.routing, 0.0)
    assert (after.routing.weights, after.routing.apart) == ({"v1": 100, "v2": 0}, "v2")
    assert after.routing.copies == wanted.mirror_percent


def test_a_canary_that_died_gets_no_copies_while_it_is_started_again() -> None:
    """A copy for nobody would only be a 503 in the log."""
    wanted = desired(mirrored())
    current = Routing({"v1": frozenset({A}), "v2": frozenset({B})}, {"v1": 100, "v2": 0}, apart="v2", copies=100)
    dead = {wanted.canaries[0].key: Failure(1, "ReplicaDied", "killed", False, 0.0)}
    found = plan(wanted, [ready(1, wanted.predictor, A)], dead, current, 0.0)
    assert (found.routing.apart, found.routing.copies) == ("", 0)


def test_a_header_still_leads_to_its_canary_when_the_predictor_cannot_serve() -> None:
    """Half a service is better than none; what no header chooses has nobody."""
    wanted = desired(by_header())
    current = plan(wanted, [ready(1, wanted.predictor, A), ready(2, wanted.canaries[0], B)], {}, SERVING, 0.0).routing
    found = plan(wanted, [ready(2, wanted.canaries[0], B)], gave_up(wanted.predictor), current, 0.0)
    assert found.routing == Routing({"v2": frozenset({B})}, {}, wanted.split, "v2")


def test_copies_end_with_the_predictor_that_they_are_copies_of() -> None:
    """A document with another predictor and no mirroring: the old predictor carries on, and nothing is copied."""
    old = desired(mirrored())
    replicas = [ready(1, old.predictor, A), ready(2, old.canaries[0], B)]
    current = plan(old, replicas, {}, SERVING, 0.0).routing
    found = plan(desired(document("v3", "models:/risk/3")), replicas, {}, current, 0.0)
    assert found.routing == Routing({"v1": frozenset({A})}, {"v1": 100})


def test_what_carries_on_without_the_predictor_shares_a_hundred_percent() -> None:
    """Weights of 10 and 20 become 33 and 67: their sum is a hundred whoever has died."""
    base = canary(10)
    third = base.spec.canary[0].predictor.model_copy(update={"name": "v3"})
    entry = base.spec.canary[0].model_copy(update={"predictor": third, "traffic_percent": 20})
    two = base.model_copy(update={"spec": base.spec.model_copy(update={"canary": [*base.spec.canary, entry]})})
    wanted = desired(two)
    replicas = [ready(2, wanted.canaries[0], B), ready(3, wanted.canaries[1], C)]
    endpoints = {"v1": frozenset({A}), "v2": frozenset({B}), "v3": frozenset({C})}
    current = Routing(endpoints, {"v1": 70, "v2": 10, "v3": 20})
    found = plan(wanted, replicas, gave_up(wanted.predictor), current, 0.0)
    assert found.routing.weights == {"v2": 33, "v3": 67}


def test_the_predictor_keeps_its_replicas_at_every_share_of_the_canary() -> None:
    """Also at 100 %: the way back is one weight, until the canary is promoted."""
    for percent in (0, 50, 100):
        wanted = desired(document(replicas=2).with_canary("v2", "models:/risk/2", percent))
        replicas = [ready(1, wanted.predictor, A), ready(2, wanted.predictor, B), ready(3, wanted.canaries[0], C)]
        replicas.append(ready(4, wanted.canaries[0], ("127.0.0.1", 4)))
        assert plan(wanted, replicas, {}, SERVING, 0.0).retire == ()
        lost = plan(wanted, replicas[1:], {}, SERVING, 0.0)
        assert [workload.name for workload in lost.start] == ["v1"]


def test_a_deleted_service_loses_its_routes_and_all_replicas() -> None:
    """Starting ones included."""
    wanted = desired(canary())
    replicas = [ready(1, wanted.predictor, A), starting(2, wanted.canaries[0])]
    assert plan(None, replicas, {}, SERVING, 0.0).routing == Routing()
    assert plan(None, replicas, {}, SERVING, 0.0).retire == (1, 2)


def test_a_crash_is_followed_by_longer_and_longer_pauses_and_then_by_giving_up() -> None:
    """CrashLoopBackOff after a stated number of deaths in a row."""
    failure: Failure | None = None
    pauses = []
    for _ in range(MAX_RESTARTS):
        failure = after_death(failure, lived_s=0.1, reason="ReplicaDied", message="killed", final=False, now=100.0)
        pauses.append(failure.retry_at - 100.0)
    assert pauses[0] == 0.0
    assert pauses == sorted(set(pauses))
    last = after_death(failure, lived_s=0.1, reason="ReplicaDied", message="killed", final=False, now=100.0)
    assert (last.final, last.reason) == (True, "CrashLoopBackOff")


def test_a_replica_that_lived_long_enough_starts_the_count_anew() -> None:
    """A death a day is no crash loop."""
    failure = Failure(MAX_RESTARTS, "ReplicaDied", "killed", False, 0.0)
    again = after_death(failure, lived_s=3600, reason="ReplicaDied", message="killed", final=False, now=0.0)
    assert (again.count, again.final) == (1, False)


def test_the_planner_asks_to_be_called_again_when_a_pause_ends() -> None:
    """Nothing is started before."""
    wanted = desired(document())
    pausing = {wanted.predictor.key: Failure(3, "ReplicaDied", "killed", False, 7.0)}
    found = plan(wanted, [], pausing, Routing(), 5.0)
    assert (found.start, found.wake_at) == ((), 7.0)
    assert len(plan(wanted, [], pausing, Routing(), 7.0).start) == 1
