"""The router's memory of one service: its document, what KServe was told, what is routed, what was last seen."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.backends import assignment
from harness.backends.embedded.outage import Outage
from harness.backends.inference_service import CanaryPredictor, InferenceService, Predictor
from harness.backends.kubernetes.applied import contents_of, digest, wanted_of
from harness.backends.kubernetes.plan import Routing, Shape, View, Wanted
from harness.backends.kubernetes.pods import Failure, Replica, alive_revisions, ready_revisions
from harness.backends.kubernetes.status import Observed, status_of
from harness.backends.status import Condition, Status
from harness.runtime.events import Level


@dataclass(frozen=True)
class Change:
    """An event to tell of a service."""

    kind: str
    message: str
    level: Level
    data: Mapping[str, Any]


@dataclass
class Service:
    """Mutable; guarded by its lock."""

    document: InferenceService
    generation: int = 1
    observed: int = 0
    deleted: bool = False
    told: Shape | None = None
    told_document: Mapping[str, Any] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    main: Mapping[str, Any] = field(default_factory=dict)
    main_routes: int = 0
    alone: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    entrances: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    replicas: Sequence[Replica] = ()
    kserve: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    problem: Failure | None = None
    outage: Outage | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.wanted: Wanted = wanted_of(self.document)
        self.contents: dict[str, Predictor | CanaryPredictor] = contents_of(self.document)

    @property
    def key(self) -> tuple[str, str]:
        return self.document.namespace, self.document.name

    def change(self, document: InferenceService) -> bool:
        """Take the document; False if its spec and our annotations are the ones already applied."""
        before, after = self.document.metadata.annotations, document.metadata.annotations
        same = document.spec == self.document.spec and assignment.ours(before) == assignment.ours(after)
        self.document = document
        if same:
            return False
        self.generation += 1
        self.wanted = wanted_of(document)
        self.contents |= contents_of(document)
        return True

    def see(self, replicas: Sequence[Replica], kserve: Mapping[str, Any]) -> None:
        """Take what the cluster shows now; a revision without a replica has to be reached anew."""
        self.replicas = [replica for replica in replicas if replica.name not in self.leaving]
        self.kserve = kserve
        self.reached &= alive_revisions(self.replicas)

    def drop(self, revisions: Iterable[str]) -> None:
        """KServe was told to remove these: their Pods look ready for a moment longer, and are not to be relied on."""
        for revision in revisions:
            self.leaving |= {replica.name for replica in self.replicas if replica.revision == revision}
            self.dropped.add(revision)
            self.reached.discard(revision)

    def view(self) -> View:
        """What the planner decides on."""
        return View(
            told=self.told,
            routing=self.routing,
            ready=self.ready(),
            alive=alive_revisions(self.replicas),
            reached=frozenset(self.reached),
        )

    def ready(self) -> frozenset[str]:
        """The revisions whose wanted content is up in full."""
        names = self.told.revisions if self.told else ()
        contents = {name: (digest(self.contents[name]), self.contents[name].min_replicas) for name in names}
        return ready_revisions(self.replicas, contents)

    def unreached(self) -> list[str]:
        """Ready revisions that have a route, and that the gateway has not had an answer from."""
        return [name for name in self.routing.listed if name in self.ready() and name not in self.reached]

    def unserved(self) -> tuple[str, ...]:
        """The revisions that requests go to while none of their replicas answers the gateway."""
        return tuple(name for name in self.routing.weights if self.routing.exposes(name) and name not in self.reached)

    def serving_changed(self, now: float) -> Change | None:
        """That requests have no replica to go to since `now` (Unix seconds), or have one again, or another route."""
        missing = self.unserved()
        if missing and self.outage is None:
            self.outage = outage = Outage(now, missing, "none is ready")
            return Change("service.unserved", outage.words, "warning", asdict(outage))
        if self.outage is None or missing:
            return None
        outage, self.outage = self.outage, None
        message = f"served again after {now - outage.since:.2f} s with {outage.words}"
        return Change("service.served", message, "info", {**asdict(outage), "until": now})

    def status(self) -> Status:
        seen = Observed(
            predictor=self.wanted.predictor,
            canaries=tuple(self.wanted.percents),
            digests={name: digest(found) for name, found in self.contents.items()},
            ready=self.ready() & frozenset(self.routing.weights),
            replicas=self.replicas,
            routing=self.routing,
            kserve=self.kserve,
            problem=self.problem,
        )
        found = status_of(
            seen,
            host=self.document.host,
            generation=self.generation,
            observed_generation=self.observed,
            previous=self.conditions,
        )
        self.conditions = found.conditions
        return found
