"""The hands of chaos on real parts: a revision that errs, is slow or stands still, a gateway that refuses routes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.backends.embedded.faults import EmbeddedFaults
from harness.backends.inference_service import InferenceService
from harness.errors import UsageError
from harness.report.record import RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import World

ROW = [0.5, -0.25, 1.0]


@pytest.fixture
def faults(world: World) -> EmbeddedFaults:
    running = {"envoy": world.gateway}
    return EmbeddedFaults(world.supervisor, world.starter.events, world.folder, running, world.controller.status)


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[InferenceService]:
    """Two replicas of a baseline, and a canary without traffic."""
    base = world.deploy(world.service("hooked", "shallow", minReplicas=2))
    yield world.deploy(base.with_canary("v2", str(world.models["shallow"]), 0))
    world.controller.delete("production", "hooked", Deadline.after(30))


def codes(world: World, service: InferenceService, count: int) -> list[int]:
    ids = [f"hooked-{number}" for number in range(count)]
    return [world.post(service, {"instances": [ROW]}, **{"x-request-id": each}).status_code for each in ids]


def test_a_revision_errs_on_a_share_of_its_requests_until_the_fault_is_cleared(
    world: World, service: InferenceService, faults: EmbeddedFaults
) -> None:
    """All of its replicas do, and no other revision; the gateway does not ask again."""
    faults.inject("production", "hooked", "v1", {"errors": 0.5, "status": 500})
    erring = codes(world, service, 200)
    assert 58 <= erring.count(500) <= 142
    assert erring.count(200) == 200 - erring.count(500)
    faults.inject("production", "hooked", "v2", {"errors": 1.0})
    faults.clear("production", "hooked", "v1")
    assert codes(world, service, 50) == [200] * 50
    faults.clear("production", "hooked", "v2")


def test_a_slow_canary_takes_no_time_of_the_clients_whose_requests_are_copied(
    world: World, service: InferenceService, faults: EmbeddedFaults
) -> None:
    """Its copies take a second each; twenty requests together take less than one."""
    faults.inject("production", "hooked", "v2", {"delay_ms": {"distribution": "constant", "ms": 1000}})
    world.deploy(service.with_mirror(100))
    before = _counts(world)["v1"].slow
    began = time.monotonic()
    assert codes(world, service, 20) == [200] * 20
    assert time.monotonic() - began < 1.0
    counts = wait(
        lambda: found if (found := _counts(world))["v2"].timed >= 20 else None,
        what="20 slow copies",
        deadline=Deadline.after(20),
    )
    assert (counts["v2"].slow, counts["v1"].slow) == (20, before)
    faults.clear("production", "hooked", "v2")
    world.deploy(service)


def test_a_canary_that_hangs_takes_no_time_and_no_requests_of_the_clients(
    world: World, service: InferenceService, faults: EmbeddedFaults
) -> None:
    """A thousand copies have nowhere to go: some wait, the others are dropped, and every client has its answer."""
    world.deploy(service.with_mirror(100))
    canary = faults.replicas("production", "hooked", "v2")
    for replica in canary:
        faults.stop(replica.pid)
    assert codes(world, service, 1000) == [200] * 1000
    for replica in canary:
        faults.cont(replica.pid)
    world.deploy(service)


def _counts(world: World) -> dict[str, RevisionCounts]:
    return {each.revision: each for each in world.controller.counts("production", "hooked", 500)}


def test_a_replica_stands_still_and_goes_on(world: World, service: InferenceService, faults: EmbeddedFaults) -> None:
    """One of two: some requests wait for it, and are answered when it goes on."""
    first, second = faults.replicas("production", "hooked", "v1")
    assert {first.pid, second.pid}.isdisjoint(
        {replica.pid for replica in faults.replicas("production", "hooked", "v2")}
    )
    faults.stop(first.pid)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(world.post, service, {"instances": [ROW]}) for _ in range(4)]
        answered = lambda: sum(each.done() for each in asked) >= 2  # noqa: E731
        wait(answered, what="the other one's answers", deadline=Deadline.after(20))
        assert not all(each.done() for each in asked)
        faults.cont(first.pid)
        assert [each.result().status_code for each in asked] == [200] * 4


def test_a_killed_replica_is_a_pid_that_is_replaced(
    world: World, service: InferenceService, faults: EmbeddedFaults
) -> None:
    """The faults tell the new one's."""
    victim = faults.replicas("production", "hooked", "v1")[0].pid
    faults.kill(victim)
    replaced = lambda: len({r.pid for r in faults.replicas("production", "hooked", "v1")} - {victim}) == 2  # noqa: E731
    wait(replaced, what="another replica", deadline=Deadline.after(30))


def test_only_what_this_run_started_is_signalled(faults: EmbeddedFaults) -> None:
    """Neither this process nor one that does not run."""
    with pytest.raises(UsageError, match=rf"process {os.getpid()} is none that this run started"):
        faults.kill(os.getpid())
    with pytest.raises(UsageError, match="mlflow does not run here; there are: envoy"):
        faults.mlflow()


def test_routes_that_the_gateway_refuses_change_nothing_and_the_next_ones_are_taken(
    world: World, service: InferenceService, faults: EmbeddedFaults
) -> None:
    """Envoy keeps what it had."""
    faults.reject_gateway_config()
    assert codes(world, service, 20) == [200] * 20
    world.deploy(service.with_traffic("v2", 100))
    assert world.post(service, {"instances": [ROW]}).headers["x-served-by"] == "v2"
    world.deploy(service)
    assert world.post(service, {"instances": [ROW]}).headers["x-served-by"] == "v1"
