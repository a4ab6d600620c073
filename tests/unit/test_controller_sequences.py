"""Random documents, deaths and restarts, without a process: what is routed makes sense, and ends as the document says.

The controller's memory, planner and routes are the real ones; processes are numbers that become ready, fail or die.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.backends.document import parse
from harness.backends.embedded import planner
from harness.backends.embedded._service import LiveReplica, Service
from harness.backends.embedded.gateway_config import routes_of
from harness.backends.embedded.planner import MAX_RESTARTS, is_ready
from harness.backends.embedded.revisions import Workload
from harness.backends.embedded.routes import render_routes
from harness.backends.inference_service import InferenceService

GOOD, BAD = ("models:/risk/1", "models:/risk/2", "models:/risk/3"), "models:/broken/1"
ASSIGNMENTS = ("", "user x-user-id", "header x-variant=b", "mirror 40")


@st.composite
def documents(draw: st.DrawFn, uris: tuple[str, ...] = (*GOOD, BAD)) -> InferenceService:
    """A valid document of one service; its canary, if it has one, gets its requests in one of all ways."""
    names = draw(st.permutations(["v1", "v2", "v3"]))
    model = {"modelFormat": {"name": "mlflow"}, "storageUri": draw(st.sampled_from(uris))}
    replicas = draw(st.integers(1, 3))
    document: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "risk", "namespace": "production"},
        "spec": {"predictor": {"name": names[0], "minReplicas": replicas, "model": model}},
    }
    if draw(st.booleans()):
        document["spec"]["transformer"] = {"containers": [{"args": ["module:Class"]}]}
    parsed = parse(document)
    if not draw(st.booleans()):
        return parsed
    assignment = draw(st.sampled_from(ASSIGNMENTS))
    alone = assignment.startswith(("header", "mirror"))
    percent = 0 if alone else draw(st.sampled_from([0, 1, 10, 50, 99, 100]))
    canary = parsed.with_canary(names[1], draw(st.sampled_from(uris)), percent)
    if assignment.startswith("mirror"):
        return canary.with_mirror(40)
    return canary.with_split_by(assignment)


class Sequences(RuleBasedStateMachine):
    """One service, and a world in which processes are told to be ready or dead."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.now = 0.0
        self.full = False  # whether everything wanted has been ready, and nothing was lost since

    @initialize(document=documents(GOOD))
    def begin(self, document: InferenceService) -> None:
        self.service = Service(document)
        self.act()

    def act(self) -> None:
        """What the controller does in one pass."""
        service = self.service
        plan = planner.plan(service.wanted, service.views(), service.failures, service.routing, self.now)
        for workload in plan.start:
            number = next(self.numbers)
            service.replicas[number] = LiveReplica(number, workload, self.now)
        retired = {service.replicas[number].address for number in plan.retire} - {None}
        routed = {address for found in plan.routing.endpoints.values() for address in found}
        assert not retired & routed, "a replica was retired while requests went to it"
        service.routed(plan.routing)
        for number in plan.retire:
            del service.replicas[number]
        service.observe()

    @rule(document=documents())
    def apply(self, document: InferenceService) -> None:
        if self.service.deleted:
            self.service.revive(document)
            self.full = False
        else:
            self.service.change(document)
        self.act()

    @rule()
    def delete(self) -> None:
        self.service.delete()
        self.act()
        assert self.service.gone()

    @rule(data=st.data())
    @precondition(lambda self: any(r.state == "starting" for r in self.service.replicas.values()))
    def one_comes_up(self, data: st.DataObject) -> None:
        starting = [r for r in self.service.replicas.values() if r.state == "starting"]
        self.come_up(data.draw(st.sampled_from(starting)))

    @rule(data=st.data())
    @precondition(lambda self: self.service.replicas)
    def one_dies(self, data: st.DataObject) -> None:
        self.full = False
        self.lose(data.draw(st.sampled_from(list(self.service.replicas.values()))), final=False)

    @rule(seconds=st.sampled_from([0.05, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.act()

    @rule()
    def all_settles(self) -> None:
        """Everything comes up that can: what the last document says is then in effect, to the last field."""
        for _ in range(50):
            self.now += 20.0
            self.act()
            starting = [r for r in self.service.replicas.values() if r.state == "starting"]
            if not starting:
                break
            for replica in starting:
                self.come_up(replica)
        if not self.service.deleted and not self.hopeless():
            self.full = True
            self.is_as_documented()

    def come_up(self, replica: LiveReplica) -> None:
        if replica.number not in self.service.replicas:
            return
        if replica.workload.storage_uri == BAD:
            self.lose(replica, final=True)
            return
        replica.address, replica.ready_at = ("127.0.0.1", 10_000 + replica.number), self.now
        self.act()

    def lose(self, replica: LiveReplica, *, final: bool) -> None:
        del self.service.replicas[replica.number]
        self.service.record_death(replica, "ReplicaDied", "killed", final=final, now=self.now)
        self.act()

    def hopeless(self) -> bool:
        """Whether something of the document can never be ready: its model is broken, or it has died too often."""
        return any(
            (failure := self.service.failures.get(workload.key)) is not None and failure.final
            for workload in self.service.last_wanted.workloads
        )

    def is_as_documented(self) -> None:
        service, document = self.service, self.service.document
        wanted, routing = service.last_wanted, service.routing
        for workload in wanted.workloads:
            assert is_ready(workload, service.views())
            assert routing.endpoints[workload.name] == self.addresses(workload)
        assert {r.workload.name for r in service.replicas.values()} == {w.name for w in wanted.workloads}
        assert len(service.replicas) == sum(workload.replicas for workload in wanted.workloads)
        percents = {entry.predictor.name: entry.traffic_percent for entry in document.spec.canary}
        assert routing.weights == {document.spec.predictor.name: 100 - sum(percents.values()), **percents}
        assert (routing.split, routing.copies) == (wanted.split, wanted.mirror_percent)
        assert service.status().ready

    def addresses(self, workload: Workload) -> frozenset[tuple[str, int]]:
        same = [r for r in self.service.replicas.values() if r.workload.key == workload.key]
        return frozenset(r.address for r in same if r.address)

    @invariant()
    def every_weighted_route_sums_to_a_hundred_and_has_endpoints(self) -> None:
        service = self.service
        routes = () if service.deleted else routes_of(service.last_wanted, service.routing)
        known = {f"production/risk/{workload}" for workload in service.routing.endpoints}
        for host in json.loads(render_routes(routes)[0])["resources"][0]["virtual_hosts"]:
            for route in host["routes"]:
                if weighted := route.get("route", {}).get("weighted_clusters"):
                    assert sum(entry["weight"] for entry in weighted["clusters"]) == 100
                    assert {entry["name"] for entry in weighted["clusters"]} <= known

    @invariant()
    def requests_go_nowhere_only_after_a_death(self) -> None:
        """A document, good or broken, never takes the traffic from what serves."""
        if self.full and not self.service.deleted:
            front = self.service.last_wanted.transformer is not None
            ready_front = "_transformer" in self.service.routing.endpoints
            assert self.service.unserved() == () or (front and not ready_front)

    @invariant()
    def nothing_is_started_for_ever(self) -> None:
        """What has failed too often is given up."""
        assert all(f.count <= MAX_RESTARTS + 1 for f in self.service.failures.values())


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=250,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
