"""Who is told when requests cannot be answered, for how long, and what mends it; real processes are killed."""

from __future__ import annotations

import os
import signal
import time

import pytest

from harness.backends.embedded import liveness, lives, starter
from harness.backends.embedded.faults import EmbeddedFaults
from harness.backends.embedded.starter import Processes, Starter
from harness.backends.inference_service import InferenceService
from harness.backends.status import ReplicaStatus
from harness.components.gateway import gateway
from harness.runtime.clock import Deadline
from harness.runtime.events import Event
from harness.runtime.wait import wait
from tests.embedded.conftest import World

ROW = [0.5, -0.25, 1.0]


def told(world: World, document: InferenceService, kind: str) -> list[Event]:
    subject = f"{document.namespace}/{document.name}"
    return [event for event in world.events if event.kind == kind and event.subject == subject]


def outages(world: World, document: InferenceService) -> list[tuple[Event, Event]]:
    """Each outage that has ended: its beginning and its end."""
    began, ended = (told(world, document, f"service.{kind}") for kind in ("unserved", "served"))
    return list(zip(began, ended, strict=False)) if len(began) == len(ended) else []


def end_of_outage(world: World, document: InferenceService) -> tuple[Event, Event]:
    (outage,) = wait(lambda: outages(world, document), what="the outage's end", deadline=Deadline.after(40))
    return outage


def test_a_service_whose_only_replica_died_says_when_it_was_not_served_and_why(world: World) -> None:
    """From the moment of the death until the new replica is routed; once, with the cause."""
    document = world.deploy(world.service("lonely", "shallow"))
    (victim,) = world.pids(document).values()
    before = time.time()
    os.kill(victim, signal.SIGKILL)
    began, ended = end_of_outage(world, document)
    assert before <= began.data["since"] < before + 1.0
    assert began.data["revisions"] == ["v1"]
    assert "killed by signal 9" in began.data["cause"]
    (ready,) = [e for e in told(world, document, "replica.ready") if e.at > began.data["since"]]
    assert ready.at <= ended.data["until"] <= time.time()
    assert world.post(document, {"instances": [ROW]}).status_code == 200


def test_a_service_with_a_second_replica_is_always_served(world: World) -> None:
    """One of two died: no outage is told."""
    document = world.deploy(world.service("paired", "shallow", minReplicas=2))
    os.kill(world.controller.status("production", "paired").replicas[0].pid, signal.SIGKILL)
    wait(lambda: told(world, document, "replica.died"), what="death", deadline=Deadline.after(10))
    world.controller.wait_ready("production", "paired", Deadline.after(40))
    assert told(world, document, "service.unserved") == []


def test_a_canary_that_died_is_an_outage_until_its_share_has_moved(world: World) -> None:
    """Some milliseconds; a canary that has only copies is none."""
    base = world.deploy(world.service("moves", "shallow"))
    canary = world.deploy(base.with_canary("v2", str(world.models["deep"]), 0))
    document = world.deploy(canary.with_mirror(100))
    os.kill(world.pids(document)["v2"], signal.SIGKILL)
    wait(lambda: told(world, document, "replica.died"), what="death", deadline=Deadline.after(10))
    world.controller.wait_ready("production", "moves", Deadline.after(40))
    assert told(world, document, "service.unserved") == []
    world.deploy(canary.with_traffic("v2", 50))
    os.kill(world.pids(document)["v2"], signal.SIGKILL)
    began, ended = end_of_outage(world, document)
    assert began.data["revisions"] == ["v2"]
    assert ended.data["until"] - ended.data["since"] < 2.0


def test_the_baseline_keeps_its_replicas_until_the_canary_is_promoted(world: World) -> None:
    """Also when it gets no request any more, and one of them dies: the way back is one weight."""
    base = world.deploy(world.service("keeps", "shallow", minReplicas=2))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 100))

    def baseline() -> list[ReplicaStatus]:
        return [each for each in world.controller.status("production", "keeps").replicas if each.revision == "v1"]

    victim = baseline()[0].pid
    os.kill(victim, signal.SIGKILL)
    wait(lambda: told(world, document, "replica.died"), what="death", deadline=Deadline.after(10))
    world.controller.wait_ready("production", "keeps", Deadline.after(40))
    assert len({replica.pid for replica in baseline() if replica.state == "ready"} - {victim}) == 2
    assert told(world, document, "service.unserved") == []
    world.deploy(document.promoted("v2"))
    assert baseline() == []


def test_a_killed_gateway_is_an_outage_of_every_service_and_loses_no_route(world: World) -> None:
    """Also when the file that it starts from was spoilt meanwhile; its counters start at zero."""
    base = world.deploy(world.service("behind", "shallow"))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 100))
    for _ in range(20):
        world.post(document, {"instances": [ROW]})
    running = {"envoy": world.gateway}
    faults = EmbeddedFaults(world.supervisor, world.starter.events, world.folder, running, world.controller.status)
    faults.reject_gateway_config()
    faults.kill(faults.gateway())
    began, ended = end_of_outage(world, document)
    assert began.data["cause"] == "envoy was killed by signal 9"
    assert ended.data["until"] - ended.data["since"] < 10.0
    answers = [world.post(document, {"instances": [ROW]}) for _ in range(5)]
    assert {answer.headers.get("x-served-by") for answer in answers} == {"v2"}
    counts = {each.revision: each.requests for each in world.controller.counts("production", "behind", 50)}
    assert counts["v2"] == 5


@pytest.mark.parametrize(("steady_s", "survives"), [(0.0, True), (600.0, False)])
def test_a_component_is_given_up_only_when_it_dies_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch, steady_s: float, survives: bool
) -> None:
    """Four deaths in a row are too many; one that had lived for long enough begins a new row."""
    monkeypatch.setattr(starter, "STEADY_S", steady_s)
    folder = world.folder / f"mortal-{survives}"
    own = Starter(world.supervisor, world.starter.events, folder, Processes(world.supervisor))
    running = own.start(gateway(access_log=folder / "access.jsonl"), Deadline.after(20))
    states: list[str] = []
    running.listeners.append(states.append)
    for _ in range(3):
        before = len(states)
        os.kill(running.child.pid, signal.SIGKILL)
        wait(lambda: len(states) == before + 2, what="its return", deadline=Deadline.after(20))  # noqa: B023
    os.kill(running.child.pid, signal.SIGKILL)
    wait(lambda: len(states) == 8 or running.failed, what="its return or its end", deadline=Deadline.after(20))
    assert bool(running.failed) is not survives
    assert states[:2] == ["envoy was killed by signal 9", ""]
    world.supervisor.stop(running.child)


def test_a_replica_that_hangs_is_killed_and_replaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outage began with the first probe that had no answer, not with the end of the patience."""
    monkeypatch.setattr(liveness, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(lives, "PROBE_EVERY_S", 0.1)
    document = world.deploy(world.service("hanging", "shallow"))
    (victim,) = world.pids(document).values()
    before = time.time()
    os.kill(victim, signal.SIGSTOP)
    began, _ = end_of_outage(world, document)
    assert "has answered nothing for" in began.data["cause"]
    assert before - 0.5 <= began.data["since"] <= before + 1.0
    assert world.pids(document) != {"v1": victim}
    assert world.post(document, {"instances": [ROW]}).status_code == 200


def test_what_is_applied_while_it_still_ends_is_a_new_service(world: World) -> None:
    """Under the same name: its routes are its own, and the end of the old replicas takes nothing from it."""
    document = world.deploy(world.service("again", "moody"))
    with world.controller._lock:
        service = world.controller._services["production", "again"]
        service.delete()
        world.controller._pass(service)
        world.controller.apply(world.service("again", "shallow"))
    world.controller.wait_ready("production", "again", Deadline.after(40))
    wait(lambda: not service.retiring, what="the old replica's end", deadline=Deadline.after(20))
    assert world.post(document, {"instances": [ROW]}).status_code == 200
    assert world.controller.status("production", "again").generation == 1
    assert world.controller.status("production", "again").restarts == {}
