"""Random sequences of apply, update, delete and kill, on real replicas and a real Envoy, end as the last document."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.backends.document import parse
from harness.backends.inference_service import InferenceService
from harness.clients.envoy import Address, EnvoyClient
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import World

NAMES = itertools.count(1)
MODELS = ("shallow", "deep")
ASSIGNMENTS = ("", "user x-user-id", "header x-variant=b", "mirror")


@dataclass(frozen=True)
class Wanted:
    """A document in few words: the predictor's name, model and replicas; its canary's name, model and share."""

    name: str
    model: str
    replicas: int
    canary: str
    canary_model: str
    percent: int
    assignment: str
    settled: bool  # whether it is waited for before the next operation

    def document(self, world: World, service: str) -> InferenceService:
        told = world.service(service, self.model, minReplicas=self.replicas).to_dict()
        told["spec"]["predictor"]["name"] = self.name
        base = parse(told)
        if not self.canary:
            return base
        alone = self.assignment.startswith(("header", "mirror"))
        uri = str(world.models[self.canary_model])
        canary = base.with_canary(self.canary, uri, 0 if alone else self.percent)
        return canary.with_mirror(100) if self.assignment == "mirror" else canary.with_split_by(self.assignment)


@st.composite
def wanted(draw: st.DrawFn) -> Wanted:
    name, other = draw(st.permutations(["v1", "v2"]))
    return Wanted(
        name,
        draw(st.sampled_from(MODELS)),
        draw(st.integers(1, 2)),
        draw(st.sampled_from(["", other])),
        draw(st.sampled_from(MODELS)),
        draw(st.sampled_from([0, 20, 100])),
        draw(st.sampled_from(ASSIGNMENTS)),
        draw(st.booleans()),
    )


OPERATIONS = st.one_of(wanted(), wanted(), st.sampled_from(["delete", "kill a replica", "kill the gateway"]))


def virtual_hosts(world: World) -> dict[str, Any]:
    """The routes that Envoy itself says are in effect, by host."""
    url = f"{world.gateway.url('admin')}/config_dump"
    dump = httpx.get(url, params={"resource": "dynamic_route_configs"}, timeout=10, trust_env=False).json()
    (routes,) = [each["route_config"] for each in dump["configs"]]
    return {host["name"]: host for host in routes["virtual_hosts"]}


def shares(route: dict[str, Any]) -> dict[str, int]:
    """Revision -> weight of one route; one of nothing else than a hundred is told as a single cluster or as weights."""
    clusters = route["route"]["weighted_clusters"]["clusters"]
    assert sum(each["weight"] for each in clusters) == 100
    return {each["name"].rpartition("/")[2]: each["weight"] for each in clusters}


def routes_are_as_documented(world: World, document: InferenceService) -> None:
    hosts = virtual_hosts(world)
    spec, annotations = document.spec, document.metadata.annotations
    canaries = {entry.predictor.name: entry.traffic_percent for entry in spec.canary}
    documented = {spec.predictor.name: 100 - sum(canaries.values()), **canaries}
    *special, last = hosts[document.host]["routes"]
    assert shares(last) == {name: share for name, share in documented.items() if share}
    by = annotations.get("rehearsal.dev/split-by", "")
    assert last["route"]["weighted_clusters"].get("use_hash_policy", False) is by.startswith("user")
    assert [shares(route) for route in special] == [{name: 100} for name in canaries if by.startswith("header")]
    mirrored = "rehearsal.dev/mirror-percent" in annotations
    assert ("request_mirror_policies" in last["route"]) is mirrored
    assert (f"{document.host}-shadow" in hosts) is mirrored


def endpoints_are_as_documented(world: World, document: InferenceService) -> None:
    spec, prefix = document.spec, f"{document.namespace}/{document.name}/"
    wanted = {f"{prefix}{spec.predictor.name}": spec.predictor.min_replicas}
    wanted |= {f"{prefix}{entry.predictor.name}": entry.predictor.min_replicas for entry in spec.canary}
    replicas = world.controller.status(document.namespace, document.name).replicas
    with EnvoyClient(world.gateway.url(), world.gateway.url("admin")) as envoy:

        def in_effect() -> dict[str, frozenset[Address]]:
            return {name: found for name, found in envoy.endpoints().items() if name.startswith(prefix) and found}

        # What was taken out of service is listed until it has ended what it had.
        wait(lambda: in_effect().keys() == wanted.keys(), what="the old ones' end", deadline=Deadline.after(30))
        found = in_effect()
    assert {cluster: len(addresses) for cluster, addresses in found.items()} == wanted
    running = {f"{prefix}{each.revision} {each.address}" for each in replicas}
    assert {f"{cluster} {host}:{port}" for cluster, all_of in found.items() for host, port in all_of} == running


def answers_are_the_right_ones(world: World, document: InferenceService) -> None:
    predictor = document.spec.predictor
    uris = {predictor.name: predictor.model.storage_uri}
    uris |= {entry.predictor.name: entry.predictor.model.storage_uri for entry in document.spec.canary}
    for number in range(12):
        variant = {"x-variant": "b"} if number % 3 == 0 else {}
        rows, _ = world.expected(MODELS[0])
        answer = world.post(document, {"instances": rows}, **{"x-user-id": f"user-{number}"}, **variant)
        revision = answer.headers["x-served-by"]
        assert answer.json()["predictions"] == world.expected(uris[revision].rpartition("/")[2])[1]


@settings(
    max_examples=7,
    phases=[Phase.generate],  # each example costs a second: one that fails is told as it is
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(operations=st.lists(OPERATIONS, min_size=4, max_size=7), last=wanted())
def test_whatever_was_asked_before_the_last_document_is_what_is_in_effect(
    world: World, operations: list[Any], last: Wanted
) -> None:
    """Status ready, Envoy's own routes and endpoints, and the answers of the models that it names."""
    name = f"sequence-{next(NAMES)}"
    applied = False
    for operation in [*operations, last]:
        if isinstance(operation, Wanted):
            world.controller.apply(operation.document(world, name))
            applied = True
            if operation.settled:
                world.controller.wait_ready("production", name, Deadline.after(60))
        elif applied:
            applied = carry_out(world, name, operation)
    document = last.document(world, name)
    world.controller.wait_ready("production", name, Deadline.after(60))
    routes_are_as_documented(world, document)
    endpoints_are_as_documented(world, document)
    answers_are_the_right_ones(world, document)
    world.controller.delete("production", name, Deadline.after(60))
    assert document.host not in virtual_hosts(world)
    routed = [event.data["weights"] for event in world.events if event.kind == "service.routed"]
    assert {sum(weights.values()) for weights in routed} <= {0, 100}


def carry_out(world: World, name: str, operation: str) -> bool:
    """Do it; whether the service is still there."""
    if operation == "delete":
        world.controller.delete("production", name, Deadline.after(60))
        return False
    if operation == "kill the gateway":
        world.gateway.restarts = 0  # its recipe gives it up after some deaths in a row; here each is one of its own
        os.kill(world.gateway.child.pid, signal.SIGKILL)
    elif pids := [each.pid for each in world.controller.status("production", name).replicas if each.pid]:
        os.kill(pids[0], signal.SIGKILL)
    return True
