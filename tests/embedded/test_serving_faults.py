"""Serving when something breaks: models that do not load, replicas and the gateway killed, disks that are full."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.backends.embedded import gateway_config as gateway_config_module
from harness.backends.embedded import lives
from harness.backends.embedded import targets as targets_module
from harness.backends.embedded.controller import Controller
from harness.backends.embedded.gateway_config import GatewayConfig
from harness.backends.embedded.planner import Routing
from harness.backends.embedded.replicas import ReplicaStarter, replicas_folder
from harness.backends.embedded.revisions import desired
from harness.backends.embedded.starter import Processes, Starter
from harness.clients.envoy import EnvoyClient
from harness.clients.http import client
from harness.components import files
from harness.components.component import Component, Ready
from harness.components.gateway import VERSION_HOST, gateway
from harness.errors import PlatformError, ServiceFailed
from harness.runtime import ports
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog
from harness.runtime.identity import Identity
from harness.runtime.process import Child
from harness.runtime.wait import wait
from tests.embedded.conftest import World, traffic

ROW = [0.5, -0.25, 1.0]


def test_a_corrupt_model_becomes_the_condition_of_the_service(world: World) -> None:
    """Ready is False with the reason; waiting for it ends at once instead of at the deadline."""
    document = world.service("corrupt", "corrupt")
    world.controller.apply(document)
    with pytest.raises(ServiceFailed, match=r"ModelLoadFailed: model .*/corrupt cannot be loaded: \w+Error"):
        world.controller.wait_ready("production", "corrupt", Deadline.after(60))
    ready = world.controller.status("production", "corrupt").condition("Ready")
    assert (ready.status, ready.reason) == ("False", "ModelLoadFailed")
    assert world.post(document, {"instances": [ROW]}).status_code == 503


def test_a_server_that_exits_while_it_loads_ends_in_crash_loop_back_off(world: World) -> None:
    """Tried again with longer and longer pauses, then given up with its exit code."""
    world.controller.apply(world.service("exits", "exits"))
    with pytest.raises(ServiceFailed, match=r"CrashLoopBackOff: ended 6 times in a row.*exit code 7"):
        world.controller.wait_ready("production", "exits", Deadline.after(60))


def test_a_broken_canary_leaves_the_baseline_serving(world: World) -> None:
    """The service stays Ready, the canary says why it is not, and not one request notices."""
    base = world.deploy(world.service("brokencanary", "shallow"))
    with traffic(world, base) as seen:
        world.controller.apply(base.with_canary("v2", str(world.models["corrupt"]), 50))
        with pytest.raises(ServiceFailed, match="canary v2: ModelLoadFailed"):
            world.controller.wait_ready("production", "brokencanary", Deadline.after(60))
    status = world.controller.status("production", "brokencanary")
    assert set(seen) == {"200 v1"}
    assert status.ready
    assert status.to_dict()["canaryStatuses"][0]["ready"] is False
    assert status.to_dict()["canaryStatuses"][0]["severity"] == "Info"


def test_a_new_model_under_the_same_name_is_rolled_in_without_a_lost_request(world: World) -> None:
    """The new replica is ready and routed before the old one is drained."""
    base = world.deploy(world.service("inplace", "shallow"))
    before = world.pids(base)
    with traffic(world, base) as seen:
        world.deploy(world.service("inplace", "deep"))
    assert set(seen) == {"200 v1"}
    assert world.pids(base) != before
    rows, answers = world.expected("deep")
    assert world.post(base, {"instances": rows}).json()["predictions"] == answers


def test_a_bad_new_model_under_the_same_name_leaves_the_old_one_serving(world: World) -> None:
    """The update fails, the service does not."""
    base = world.deploy(world.service("badupdate", "shallow"))
    with traffic(world, base) as seen:
        world.controller.apply(world.service("badupdate", "corrupt"))
        with pytest.raises(ServiceFailed, match="ModelLoadFailed"):
            world.controller.wait_ready("production", "badupdate", Deadline.after(60))
    assert set(seen) == {"200 v1"}


def test_a_killed_replica_is_started_again(world: World) -> None:
    """At most the request that it was answering is lost: the gateway tries again where nothing was sent."""
    document = world.deploy(world.service("killed", "shallow"))
    (victim,) = world.pids(document).values()
    with traffic(world, document) as seen:
        os.kill(victim, signal.SIGKILL)
        wait(lambda: victim not in world.pids(document).values(), what="death noticed", deadline=Deadline.after(10))
        world.controller.wait_ready("production", "killed", Deadline.after(60))
    assert sum(not answer.startswith("200") for answer in seen) <= 2
    assert world.controller.status("production", "killed").restarts == {"v1": 1}
    died = [event for event in world.events if event.kind == "replica.died" and event.subject == "production/killed"]
    assert "killed by signal 9" in died[0].message


def test_a_killed_canarys_share_goes_to_the_baseline_at_once(world: World) -> None:
    """And comes back when the canary is ready again."""
    base = world.deploy(world.service("killedcanary", "shallow"))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 50))
    os.kill(world.pids(document)["v2"], signal.SIGKILL)
    wait(
        lambda: world.controller.status("production", "killedcanary").weights == {"v1": 100},
        what="weights without the canary",
        deadline=Deadline.after(10),
    )
    world.controller.wait_ready("production", "killedcanary", Deadline.after(60))
    assert world.controller.status("production", "killedcanary").weights == {"v1": 50, "v2": 50}


def test_a_port_taken_under_us_is_told_and_another_is_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody binds the port between its choice and the component's start."""
    reserve = ports.reserve
    taken = [world.gateway.ports["http"]]
    monkeypatch.setattr(ports, "reserve", lambda: taken.pop() if taken else reserve())
    recipe = gateway(access_log=world.folder / "second.jsonl")
    second = Starter(world.supervisor, world.starter.events, world.folder / "second", Processes(world.supervisor))
    running = second.start(recipe, Deadline.after(20))
    assert running.ports["http"] != world.gateway.ports["http"]
    assert any(event.kind == "component.port_taken" and event.subject == "envoy" for event in world.events)
    world.supervisor.stop(running.child)


def test_a_strangers_answer_on_our_port_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that drew one port must not share a registry: the address has to be the component's own."""
    reserve = ports.reserve
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as stranger:
        thread = threading.Thread(target=stranger.serve_forever, args=(0.05,))
        thread.start()
        taken = [stranger.server_port]
        monkeypatch.setattr(ports, "reserve", lambda: taken.pop() if taken else reserve())
        argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port[http]}")
        recipe = Component(name="own", version="1", argv=argv, ready=Ready(port="http", path="/"))
        running = world.starter.start(recipe, Deadline.after(20))
        stranger.shutdown()
        thread.join()
    assert running.ports["http"] != stranger.server_port
    world.supervisor.stop(running.child)


def test_routes_that_the_gateway_refuses_are_told_at_once_with_its_words(world: World) -> None:
    """Its own version host, as a service's: a domain may be there only once."""
    starter = Starter(world.supervisor, world.starter.events, world.folder / "refusing", Processes(world.supervisor))
    running = starter.start(gateway(access_log=world.folder / "refusing.jsonl"), Deadline.after(20))
    config = GatewayConfig(running)
    wanted = replace(desired(world.service("refused", "shallow")), host=VERSION_HOST)
    with pytest.raises(PlatformError, match=r"(?s)routes of production/refused .*Envoy refused them.*unique values"):
        config.route(wanted, Routing(), {})
    config.close()
    world.supervisor.stop(running.child)


def test_a_folder_that_cannot_be_written_is_told_by_the_service(world: World) -> None:
    """A full disk is a reason in the condition, not a minute of silence."""
    starter = ReplicaStarter(world.supervisor, None, "", world.gateway.url(), world.gateway.folder / "a file")
    starter.folder.touch()
    wanted = desired(world.service("full", "shallow"))
    with pytest.raises(PlatformError, match=r"replica production\.full\.v1-1: cannot write .*: Not a directory"):
        starter.launch(wanted, wanted.predictor, 1, Deadline.after(5))


def test_the_list_for_prometheus_is_written_again_after_it_could_not_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full while a replica became ready; a second later it is not."""
    write = files.replace_text
    failures = [OSError(28, "No space left on device")]

    def replace_text(path: Path, text: str, *, beside: Path) -> None:
        if "fullonce" in text and failures:
            raise failures.pop()
        write(path, text, beside=beside)

    monkeypatch.setattr(targets_module, "replace_text", replace_text)
    world.controller.apply(world.service("fullonce", "shallow"))
    told = targets_module.targets_file(world.folder)
    wait(lambda: told.exists() and "fullonce" in told.read_text(), what="list", deadline=Deadline.after(30))
    assert any("No space left" in e.message for e in world.events if e.kind == "controller.error")


def test_a_controller_that_is_closed_while_a_replica_drains_ends_quietly(world: World) -> None:
    """The replica is stopped; nothing is said to have drained; no thread dies with an error (a warning fails this)."""
    log = EventLog(world.folder / "closing.jsonl")
    events: list[Event] = []
    log.listen(events.append)
    folder = world.folder / "closing"
    replicas = ReplicaStarter(world.supervisor, lambda: world.nursery, "", world.gateway.url(), replicas_folder(folder))
    controller = Controller(world.supervisor, replicas, world.gateway, log, folder)
    document = world.service("closing", "moody", namespace="closing")
    controller.apply(document)
    controller.wait_ready("closing", "closing", Deadline.after(60))
    (replica,) = controller.status("closing", "closing").replicas
    busy = threading.Thread(target=world.post, args=(document, {"instances": [[20.0]] * 8}))
    alive = Identity.of(replica.pid)
    busy.start()
    with controller._lock:
        service = controller._services["closing", "closing"]
        controller._lives.retire(service, next(iter(service.replicas)))
        controller._jobs.close()
        controller._config.close()
    wait(lambda: not alive.alive(), what="the replica's end", deadline=Deadline.after(20))
    wait(lambda: not service.retiring, what="forgotten", deadline=Deadline.after(20))
    busy.join()
    log.close()
    assert "replica.retired" not in [event.kind for event in events]


def test_a_killed_gateway_comes_back_on_its_address_with_its_routes(world: World) -> None:
    """Its recipe says: restart. What it routes lies in files."""
    document = world.deploy(world.service("gatewaydies", "shallow"))
    os.kill(world.gateway.child.pid, signal.SIGKILL)
    answer = wait(lambda: world.post(document, {"instances": [ROW]}), what="an answer", deadline=Deadline.after(20))
    assert answer.status_code == 200
    world.controller.apply(document.with_canary("v2", str(world.models["deep"]), 100))
    world.controller.wait_ready("production", "gatewaydies", Deadline.after(60))
    assert world.post(document, {"instances": [ROW]}).headers["x-served-by"] == "v2"


def test_a_replica_starts_without_a_nursery_too(world: World) -> None:
    """The cold way is the fallback where forking is not to be had."""
    document = world.service("cold", "shallow")
    wanted = desired(document)
    starter = ReplicaStarter(world.supervisor, None, "", world.gateway.url(), world.folder / "cold")
    child = starter.launch(wanted, wanted.predictor, 1, Deadline.after(60))
    host, port = starter.wait_ready(wanted, child, Deadline.after(60))
    rows, answers = world.expected("shallow")
    with client(f"http://{host}:{port}", timeout_s=20) as http:
        answer = http.post("/v1/models/cold:predict", json={"instances": rows})
    assert answer.json()["predictions"] == answers
    assert world.supervisor.stop(child) == 0


def test_a_replica_drains_when_it_is_told_to_end(world: World) -> None:
    """SIGTERM under load, after the routes were taken away: no request is lost and the exit is clean."""
    base = world.deploy(world.service("drains", "shallow"))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 50))
    with traffic(world, document) as seen:
        world.deploy(document.promoted("v2"))
    assert all(answer.startswith("200") for answer in seen)
    assert {answer.split()[1] for answer in seen} == {"v1", "v2"}


def test_fewer_replicas_lose_no_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under slow requests in parallel: the surplus replica leaves the routes, ends what it has, and only then stops."""
    document = world.deploy(world.service("narrower", "moody", minReplicas=2))
    surplus = world.controller.status("production", "narrower").replicas[-1]
    host, _, port = surplus.address.rpartition(":")
    codes: list[int] = []
    left_at_stop: list[int] = []
    done = threading.Event()
    stop = world.supervisor.stop

    def stop_and_tell(child: Child, grace_s: float = 5.0) -> int | None:
        with EnvoyClient(world.gateway.url(), world.gateway.url("admin")) as envoy:
            left_at_stop.append(envoy.active_requests("production/narrower/v1", (host, int(port))))
        return stop(child, grace_s)

    monkeypatch.setattr(world.supervisor, "stop", stop_and_tell)

    def ask() -> None:
        with client(world.gateway.url(), timeout_s=20) as http:
            while not done.is_set():
                body, headers = {"instances": [[20.0]]}, {"host": document.host}
                codes.append(http.post("/v1/models/narrower:predict", json=body, headers=headers).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait(lambda: len(codes) >= 20, what="traffic flows", deadline=Deadline.after(20))
    world.controller.apply(world.service("narrower", "moody", minReplicas=1))
    wait(lambda: world.retired("narrower"), what="retired", deadline=Deadline.after(20))
    enough = len(codes) + 20
    wait(lambda: len(codes) >= enough, what="traffic goes on", deadline=Deadline.after(20))
    done.set()
    for thread in threads:
        thread.join()
    assert set(codes) == {200}
    assert left_at_stop == [0]
    assert [message.partition(" ")[2] for message in world.retired("narrower")] == ["drained and stopped"]
    listed = (world.gateway.folder / "xds/eds/production_narrower_v1.json").read_text()
    assert port not in listed


def test_a_replica_that_never_becomes_ready_is_given_up_at_its_deadline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StartFailed is told while it is tried again; nothing waits for ever."""
    monkeypatch.setattr(lives, "START_S", 0.02)
    world.controller.apply(world.service("slowstart", "shallow"))
    with pytest.raises(ServiceFailed, match="CrashLoopBackOff"):
        world.controller.wait_ready("production", "slowstart", Deadline.after(60))


def test_weights_that_could_not_be_written_are_tried_again_when_they_are_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: each apply of the document says so, until one of them has put it into effect."""
    base = world.deploy(world.service("fullroutes", "shallow"))
    world.deploy(base.with_canary("v2", str(world.models["deep"]), 50))
    full = True
    write = files.replace_text

    def replace_text(path: Path, text: str, *, beside: Path) -> None:
        if full:
            raise OSError(28, "No space left on device")
        write(path, text, beside=beside)

    monkeypatch.setattr(gateway_config_module, "replace_text", replace_text)
    for _ in range(2):
        with pytest.raises(PlatformError, match="No space left on device"):
            world.controller.apply(base)
    full = False
    world.controller.apply(base)
    assert world.controller.status("production", "fullroutes").weights == {"v1": 100}
