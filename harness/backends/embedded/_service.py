"""The controller's memory of one service: its document, its replicas, their deaths, its routing, its status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends import assignment
from harness.backends.embedded import conditions, planner, sizing
from harness.backends.embedded.outage import Outage, unserved
from harness.backends.embedded.planner import Address, Failure, Key, ReplicaView, Routing, State
from harness.backends.embedded.revisions import Desired, Workload, desired
from harness.backends.embedded.routes import cluster_name
from harness.backends.inference_service import InferenceService
from harness.backends.status import Condition, ReplicaStatus, Status
from harness.errors import DocumentError
from harness.runtime.process import Child

Loss = tuple[float, str]
"""When something was lost (Unix seconds), and how."""


@dataclass
class LiveReplica:
    """One replica; times on the monotonic clock. `loss` is why it was killed, if its controller did.

    `unplaced` is why it has no place on the node, and with that no process.
    """

    number: int
    workload: Workload
    created: float
    child: Child | None = None
    address: Address | None = None
    ready_at: float | None = None
    loss: Loss | None = None
    unplaced: str = ""

    @property
    def state(self) -> State:
        if self.unplaced:
            return "pending"
        return "starting" if self.address is None else "ready"

    def view(self) -> ReplicaView:
        workload = self.workload
        return ReplicaView(self.number, workload.name, workload.digest, self.state, self.address, self.unplaced)


@dataclass
class Service:
    """Mutable; guarded by the controller's lock."""

    document: InferenceService
    generation: int = 1
    deleted: bool = False
    replicas: dict[int, LiveReplica] = field(default_factory=dict)
    retiring: dict[int, LiveReplica] = field(default_factory=dict)
    failures: dict[Key, Failure] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    conditions: tuple[Condition, ...] = ()
    observed: int = 0
    clusters: set[str] = field(default_factory=set)
    last_log: Path | None = None
    outage: Outage | None = None
    was_served: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    proven: set[Key] = field(default_factory=set)
    standby: Address | None = None

    def __post_init__(self) -> None:
        self._asked = desired(self.document)
        self.sizes = sizing.first_sizes(self.document, {})
        self.resize()

    @property
    def key(self) -> tuple[str, str]:
        return self.document.namespace, self.document.name

    @property
    def wanted(self) -> Desired | None:
        return None if self.deleted else self.last_wanted

    def take(self, document: InferenceService, standby: Address | None) -> bool:
        """Take a new or changed document, also after the service was deleted; False if nothing changes by it."""
        self.standby = standby or self.standby
        if self.deleted:
            self.revive(document)
            return True
        return self.change(document)

    def change(self, document: InferenceService) -> bool:
        """Take the document; False if its spec and our annotations are the ones already applied."""
        before, after = self.document.metadata.annotations, document.metadata.annotations
        same = document.spec == self.document.spec and assignment.ours(before) == assignment.ours(after)
        self.document = document
        if same:
            return False
        self.generation += 1
        known = {workload.key for workload in self._asked.workloads}
        self._asked = desired(document)
        changed = frozenset(workload.name for workload in self._asked.workloads if workload.key not in known)
        self.sizes = sizing.first_sizes(document, self.sizes, changed)
        self.resize()
        return True

    def resize(self, **replicas: int) -> None:
        """Want so many replicas of the revisions that an autoscaler scales."""
        self.sizes |= {name: count for name, count in replicas.items() if name in self.sizes}
        least = sizing.floors(self.document)
        self.last_wanted = sizing.sized(self._asked, self.sizes, least, self.proven, self.standby)

    def stand_by(self, standby: Address) -> None:
        """Have its requests held elsewhere while there is no replica."""
        self.standby = standby
        self.resize()

    def gave_up(self) -> str:
        """Why the predictor will not become ready; empty while it can."""
        failure = self.failures.get(self.last_wanted.predictor.key)
        return f"{failure.reason}: {failure.message}" if failure and failure.final else ""

    def delete(self) -> None:
        self.deleted = True

    def revive(self, document: InferenceService) -> None:
        """Begin anew under the same name, while what was deleted may still be ending."""
        self.document, self._asked = document, desired(document)
        self.sizes, self.proven = sizing.first_sizes(document, {}), set()
        self.resize()
        self.generation, self.observed, self.deleted, self.was_served = 1, 0, False, False
        self.failures, self.restarts = {}, {}
        self.conditions, self.outage = (), None

    def gone(self) -> bool:
        """Whether the service is deleted and its last process has ended."""
        return self.deleted and not self.replicas and not self.retiring

    def views(self) -> list[ReplicaView]:
        return [replica.view() for replica in self.replicas.values()]

    def draining(self, retire: Iterable[int]) -> dict[str, frozenset[Address]]:
        """Workload -> addresses of what is being retired, `retire` included."""
        leaving = [*self.retiring.values(), *(self.replicas[number] for number in retire)]
        found: dict[str, frozenset[Address]] = {}
        for replica in leaving:
            if replica.address:
                found[replica.workload.name] = found.get(replica.workload.name, frozenset()) | {replica.address}
        return found

    def routed(self, routing: Routing) -> None:
        self.routing = routing
        self.clusters |= {cluster_name(*self.key, workload) for workload in routing.endpoints}

    def unserved(self) -> tuple[str, ...]:
        """Who gets requests and has no healthy replica; nobody before the service was first served."""
        healthy: dict[str, frozenset[Address]] = {}
        for replica in self.replicas.values():
            if replica.address:
                name = replica.workload.name
                healthy[name] = healthy.get(name, frozenset()) | {replica.address}
        for workload in self.last_wanted.workloads:
            if workload.standby is not None:
                healthy[workload.name] = healthy.get(workload.name, frozenset()) | {workload.standby}
        missing = unserved(self.routing, healthy, transformer=self.last_wanted.transformer is not None)
        self.was_served = self.was_served or not missing
        return missing if self.was_served else ()

    def scrape_targets(self) -> list[dict[str, Any]]:
        """The ready replicas as Prometheus' file_sd entries."""
        namespace, name = self.key
        return [
            {
                "targets": ["{}:{}".format(*replica.address)],
                "labels": {"namespace": namespace, "service": name, "revision": replica.workload.name},
            }
            for replica in self.replicas.values()
            if replica.address
        ]

    def uses(self, workload: str) -> bool:
        """Whether the gateway routes to the workload, or one of its processes is still there."""
        processes = [*self.replicas.values(), *self.retiring.values()]
        return workload in self.routing.endpoints or any(p.workload.name == workload for p in processes)

    def children(self) -> list[tuple[str, Child]]:
        """(revision, process) of each replica that runs, also of those that drain."""
        processes = [*self.replicas.values(), *self.retiring.values()]
        return [(each.workload.name, each.child) for each in processes if each.child is not None]

    def record_death(self, replica: LiveReplica, reason: str, message: str, *, final: bool, now: float) -> None:
        key = replica.workload.key
        lived = now - replica.ready_at if replica.ready_at is not None else 0.0
        self.failures[key] = planner.after_death(
            self.failures.get(key), lived_s=lived, reason=reason, message=message, final=final, now=now
        )
        self.restarts[replica.workload.name] = self.restarts.get(replica.workload.name, 0) + (not final)

    def observe(self) -> None:
        """Bring the conditions up to date after a pass."""
        if self.deleted:
            return
        self.observed = self.generation
        ready = {workload.key for workload in self.last_wanted.workloads if planner.is_ready(workload, self.views())}
        if not ready <= self.proven:
            self.proven |= ready
            self.resize()
        self.conditions = conditions.conditions(
            self.last_wanted, self.views(), self.failures, self.routing, self.conditions
        )

    def status(self) -> Status:
        return Status(
            generation=self.generation,
            observed_generation=self.observed,
            url=f"http://{self.document.host}",
            conditions=self.conditions,
            canary_statuses=conditions.canary_statuses(self.last_wanted, self.views(), self.failures, self.routing),
            weights=dict(self.routing.weights),
            replicas=tuple(_shown(replica) for replica in self.replicas.values()),
            restarts=dict(self.restarts),
        )


def _shown(replica: LiveReplica) -> ReplicaStatus:
    address = "{}:{}".format(*replica.address) if replica.address else ""
    child = replica.child
    return ReplicaStatus(
        replica.workload.name,
        child.pid if child else 0,
        replica.state,
        address,
        str(child.log) if child else "",
        replica.unplaced,
    )


def refuse_same_host(document: InferenceService, services: Iterable[Service]) -> None:
    """<name>-<namespace> is not unique: a-b in c and a in b-c would have one host name."""
    for other in services:
        known = other.document
        taken = {document.host, document.predictor_host} & {known.host, known.predictor_host}
        if taken and not other.deleted and other.key != (document.namespace, document.name):
            told = f"metadata.name: {'/'.join(other.key)} has the host {taken.pop()} too"
            raise DocumentError(f"InferenceService {document.name!r}: {told}")
