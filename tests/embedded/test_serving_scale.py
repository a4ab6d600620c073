"""Services whose size changes: from zero and back, without a place on the node, with a model that cannot be loaded."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.backends.embedded.routes import cluster_name
from harness.backends.embedded.scaled import Scaled
from harness.backends.inference_service import InferenceService, ScaleMetric
from harness.backends.scaling import GPU
from harness.lifecycle.autoscaler import Look
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import ROW, World, traffic

BODY = {"instances": [ROW]}


def idle_service(world: World, name: str, model: str = "shallow", **predictor: Any) -> InferenceService:
    """A service that may have no replica, and has none."""
    fields = {"minReplicas": 0, "maxReplicas": 3, "scaleMetric": "concurrency", "scaleTarget": 4, **predictor}
    document = world.deploy(world.service(name, model, **fields))
    world.autoscaler.begin()
    wait_replicas(world, document, 0)
    return document


def wait_replicas(world: World, document: InferenceService, count: int, state: str = "ready") -> None:
    def there() -> bool:
        replicas = world.controller.status(document.namespace, document.name).replicas
        return sum(replica.state == state for replica in replicas) == count

    wait(there, what=f"{count} {state} replicas of {document.name}", deadline=Deadline.after(30))


def told(world: World, kind: str, name: str) -> list[str]:
    return [event.message for event in world.events if event.kind == kind and event.subject == f"production/{name}"]


def test_a_first_request_waits_for_a_start_and_is_answered_by_the_replica(world: World) -> None:
    """One line in the log, one request in the counters, whatever was held in between."""
    document = idle_service(world, "from-zero")
    assert world.controller.status("production", "from-zero").ready, "as a service that is idle in Knative"
    answer = world.post(document, BODY)
    assert (answer.status_code, answer.headers["x-served-by"]) == (200, "v1")
    assert told(world, "service.scaled", "from-zero")[-1] == "v1: 0 to 1 replicas: 1 request waits"
    (count,) = world.controller.counts("production", "from-zero", 100)
    assert (count.requests, count.failed, count.routed) == (1, 0, 1)
    wait_replicas(world, document, 0)
    assert told(world, "service.unserved", "from-zero") == [], "to have none is no outage"


def test_an_activator_that_was_started_again_is_told_what_it_holds_and_found(world: World) -> None:
    """With nothing that waits: the controller passes over its services, and the next first request is served."""
    document = idle_service(world, "elsewhere")
    before = world.activator.address
    world.activator.start_again()
    here, cluster = world.activator.address, cluster_name("production", "elsewhere", "v1")
    wait(
        lambda: here in world.controller.gateway_client.endpoints().get(cluster, ()),
        what="the gateway's new address of the activator", deadline=Deadline.after(20),
    )  # fmt: skip
    answer = world.post(document, BODY)
    assert (answer.status_code, answer.headers["x-served-by"]) == (200, "v1")
    assert world.activator.address != before


def test_many_first_requests_at_once_all_wait_and_all_succeed(world: World) -> None:
    """Twenty in flight at four for each replica: at most three replicas, and every answer is a 200."""
    document = idle_service(world, "burst")
    start = threading.Barrier(20)

    def ask() -> str:
        start.wait()
        answer = world.post(document, BODY)
        return f"{answer.status_code} {answer.text if answer.is_error else ''}"

    with ThreadPoolExecutor(20) as pool:
        codes = [each.result() for each in [pool.submit(ask) for _ in range(20)]]
    assert codes == ["200 "] * 20


def test_traffic_while_it_goes_to_zero_and_comes_back_loses_nothing(world: World) -> None:
    """The replica is taken away again and again under a client that never pauses."""
    document = world.deploy(
        world.service("to-and-fro", "shallow", minReplicas=0, maxReplicas=2, scaleMetric="rps", scaleTarget=1000)
    )
    world.autoscaler.begin()
    with traffic(world, document) as seen:
        for round_ in range(1, 6):
            world.controller.scale("production", "to-and-fro", "v1", 0, "a test says so")
            wait(
                lambda round_=round_: len(world.retired("to-and-fro")) == round_,  # type: ignore[misc]
                what="gone", deadline=Deadline.after(30),
            )  # fmt: skip
            wait_replicas(world, document, 1)
    assert set(seen) == {"200 v1"}


def test_a_killed_only_replica_costs_no_more_than_it_had_where_requests_can_wait(world: World) -> None:
    document = world.deploy(
        world.service("killed", "shallow", minReplicas=0, maxReplicas=1, scaleMetric="rps", scaleTarget=1)
    )
    world.autoscaler.begin()
    with traffic(world, document) as seen:
        (replica,) = world.controller.status("production", "killed").replicas
        next(child for child in world.supervisor.children() if child.pid == replica.pid).kill()
        wait(lambda: len(told(world, "replica.ready", "killed")) == 2, what="again", deadline=Deadline.after(30))
    answered = [each for each in seen if each == "200 v1"]
    assert len(seen) - len(answered) <= 2, "the one that it was about to answer, and one that it had accepted"


def test_who_waits_for_a_model_that_cannot_be_loaded_is_told_why(world: World) -> None:
    """Not after a timeout, and with the replica's own words."""
    document = world.service("hopeless", "corrupt", minReplicas=0, maxReplicas=1, scaleMetric="rps")
    world.controller.apply(document)
    wait(
        lambda: world.controller.status("production", "hopeless").condition("Ready").status == "False",
        what="failed", deadline=Deadline.after(30),
    )  # fmt: skip
    answer = world.post(document, BODY)
    assert answer.status_code == 503
    assert "ModelLoadFailed: " in answer.json()["error"]
    world.controller.delete("production", "hopeless", Deadline.after(30))


def test_a_replica_beyond_the_devices_is_pending_with_the_schedulers_words(world: World) -> None:
    """In the status, in an event, in the condition; and it starts as soon as there is a device."""
    document = world.service("devices", "shallow", minReplicas=2).with_resources(limits={GPU: 1})
    world.controller.apply(document)
    wait_replicas(world, document, 1)
    why = f"0/1 nodes are available: 1 Insufficient {GPU}."
    status = world.controller.status("production", "devices")
    assert [(each.state, each.pid, each.why) for each in status.replicas if each.why] == [("pending", 0, why)]
    assert status.condition("PredictorReady").reason == "Unschedulable"
    assert why in status.condition("Ready").message
    assert told(world, "replica.pending", "devices") == [f"v1-{_number(world)} is pending: {why}"]
    assert world.post(document, BODY).status_code == 200, "the one that has a place serves"
    with world.node.advertised(GPU, 2):
        wait_replicas(world, document, 2)
    assert world.controller.status("production", "devices").ready
    world.controller.delete("production", "devices", Deadline.after(30))
    assert world.node.place(10_000, {GPU: 1}) == "", "what a service had is free once it is gone"
    world.node.release(10_000)


def _number(world: World) -> str:
    (message,) = told(world, "replica.pending", "devices")
    return message.split(" ")[0].removeprefix("v1-")


@pytest.mark.parametrize(("metric", "target"), [("cpu", None), ("memory", 50)])
def test_a_service_whose_replicas_request_nothing_says_why_it_is_not_scaled(
    world: World, metric: ScaleMetric, target: int | None
) -> None:
    """A percentage of nothing is no number: it keeps its size, and an event says so once."""
    name = f"silent-{metric}"
    document = world.deploy(world.service(name, "shallow").with_autoscaling(3, metric=metric, target=target))
    world.autoscaler.begin()
    wait(lambda: told(world, "autoscaler.silent", name), what="told", deadline=Deadline.after(20))
    assert told(world, "autoscaler.silent", name) == [f"v1 is not scaled: a replica does not request {metric}"]
    wait_replicas(world, document, 1)
    world.controller.delete("production", name, Deadline.after(30))


def test_who_waits_keeps_the_replica_that_is_being_started_for_him(world: World) -> None:
    """A start that takes longer than the window of a scale-down: nothing new is counted, and it is not given up."""
    document = idle_service(world, "slow-start", scaleMetric="rps")
    seen: list[int] = []

    def see(each: Scaled, look: Look) -> None:
        if each.service == "slow-start":
            seen.append(look.desired)

    def pids() -> list[int]:
        return [replica.pid for replica in world.controller.status("production", "slow-start").replicas if replica.pid]

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(world.post, document, BODY)
        (pid,) = wait(pids, what="a process", deadline=Deadline.after(20), every_s=0.001)
        child = next(child for child in world.supervisor.children() if child.pid == pid)
        child.kill(signal.SIGSTOP)
        leave = world.autoscaler.watch(see)
        wait(lambda: len(seen) >= 8, what="looks over twice the window", deadline=Deadline.after(30))
        leave()
        assert set(seen) == {1}
        assert pids() == [pid]
        child.kill(signal.SIGCONT)
        assert asked.result(30).status_code == 200


def test_a_first_start_that_takes_long_is_not_given_up_for_want_of_requests(world: World) -> None:
    """Who applied the service waits to be told whether its model serves."""
    document = world.service("first-start", "shallow", minReplicas=0, maxReplicas=2, scaleMetric="rps")
    seen: list[int] = []

    def see(each: Scaled, look: Look) -> None:
        if each.service == "first-start":
            seen.append(look.desired)

    leave = world.autoscaler.watch(see)
    world.autoscaler.begin()
    with world.node.advertised("cpu", 0):
        world.controller.apply(document.with_resources(requests={"cpu": 1}))
        wait(lambda: len(seen) >= 8, what="looks over twice the window", deadline=Deadline.after(30))
        assert set(seen) == {1}
    world.controller.wait_ready("production", "first-start", Deadline.after(30))
    wait_replicas(world, document, 0)
    leave()
