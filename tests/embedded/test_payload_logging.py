"""Payload loggers of real replicas: what is sent, to whom, and that nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from harness.backends.document import parse
from harness.backends.inference_service import InferenceService
from harness.components.answers import AnswerCollector
from harness.runtime import ports
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.cloud_events import Receiver, receiving
from tests.embedded.conftest import World, traffic

ROW = [0.5, -0.25, 1.0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def logged(world: World, name: str, url: str, mode: str) -> InferenceService:
    return world.deploy(parse(world.service(name, "shallow", logger={"mode": mode, "url": url}).to_dict()))


def test_payloads_are_logged_as_cloud_events_with_kserves_attributes(world: World, receiver: Receiver) -> None:
    """A request and a response of one id, which is the request's."""
    document = logged(world, "logged", f"http://127.0.0.1:{receiver.server_port}/", "all")
    answer = world.post(document, {"instances": [ROW]}, **{"x-request-id": "logged-1"})
    wait(lambda: len(receiver.events) == 2, what="two events", deadline=Deadline.after(10))
    (request, sent), (response, received) = receiver.events
    assert request["ce-type"] == "org.kubeflow.serving.inference.request"
    assert response["ce-type"] == "org.kubeflow.serving.inference.response"
    assert request["ce-id"] == response["ce-id"] == "logged-1"
    assert (request["ce-inferenceservicename"], request["ce-namespace"]) == ("logged", "production")
    assert sent == answer.request.content
    assert received == answer.content


def test_answers_of_two_revisions_are_collected_and_adding_the_logger_loses_no_request(world: World) -> None:
    """Both revisions' replicas are replaced under traffic; copies are paired with what the baseline answered."""
    base = world.deploy(world.service("collected", "shallow", minReplicas=2))
    with AnswerCollector(baseline="v1", canary="v2", tolerance=1e-6) as collector:
        with traffic(world, base) as seen:
            canary = world.deploy(base.with_canary("v2", str(world.models["shallow"]), 0).with_logger(collector.url))
            document = world.deploy(canary.with_mirror(100))
            wait(lambda: collector.answers().baseline >= 100, what="answers", deadline=Deadline.after(30))
            world.deploy(document.without_canary("v2").without_logger())
        found = collector.answers()
    assert set(seen) == {"200 v1"}
    assert found.compared == found.agreed >= 100
    assert found.canary >= 90
    assert len(world.controller.status("production", "collected").replicas) == 2


@pytest.mark.parametrize("mode", ["request", "response"])
def test_the_loggers_mode_chooses_what_is_sent(world: World, receiver: Receiver, mode: str) -> None:
    """Two requests give two events of that kind."""
    document = logged(world, f"only-{mode}", f"http://127.0.0.1:{receiver.server_port}/", mode)
    for _ in range(2):
        world.post(document, {"instances": [ROW]})
    wait(lambda: len(receiver.events) == 2, what="two events", deadline=Deadline.after(10))
    assert {headers["ce-type"] for headers, _ in receiver.events} == {f"org.kubeflow.serving.inference.{mode}"}


def test_a_dead_receiver_costs_no_request_and_is_counted(world: World) -> None:
    """Answers are as fast as ever; the replica's metrics say how many events were not sent."""
    document = logged(world, "deadlogger", f"http://127.0.0.1:{ports.reserve()}/", "all")
    assert {world.post(document, {"instances": [ROW]}).status_code for _ in range(50)} == {200}
    (replica,) = world.controller.status("production", "deadlogger").replicas
    metric = 'rehearsal_payload_events_total{outcome="failed"} 100.0'
    wait(
        lambda: metric in httpx.get(f"http://{replica.address}/metrics", timeout=5, trust_env=False).text,
        what="100 failed events",
        deadline=Deadline.after(10),
    )
