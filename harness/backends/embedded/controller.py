"""The embedded controller: keeps what runs and what the gateway routes equal to the applied documents.

Every change (a document, a replica that is ready, a death, the end of a back-off) leads to one pass: ask the pure
planner, start processes in the background, put the routing into effect and confirm it, retire in the background what
lost its traffic. Passes run one at a time under one lock.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

from harness.backends.embedded import planner
from harness.backends.embedded._service import Loss, Service, refuse_same_host
from harness.backends.embedded.activator import Activator
from harness.backends.embedded.gateway_config import Clients, GatewayConfig
from harness.backends.embedded.jobs import Jobs
from harness.backends.embedded.lives import Lives
from harness.backends.embedded.node import Node
from harness.backends.embedded.outage import NOBODY, Outage
from harness.backends.embedded.planner import Address, Routing
from harness.backends.embedded.replicas import Replicas
from harness.backends.embedded.scaled import Scaled, scaled_of
from harness.backends.embedded.starter import Running
from harness.backends.embedded.targets import Targets, targets_file
from harness.backends.inference_service import InferenceService
from harness.backends.node import NodeOptions
from harness.backends.status import Status, settled, told, why_not
from harness.clients.envoy import EnvoyClient
from harness.errors import PlatformError, ServiceFailed, UsageError
from harness.report.record import RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog, Level
from harness.runtime.process import Child
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

RETRY_S = 1.0
HELD = 0.9
"""This share of its route's timeout a request is held at most, so that it is answered with the reason."""


class Controller:
    """Applies InferenceService documents; every method may be called from any thread."""

    def __init__(
        self,
        supervisor: Supervisor,
        replicas: Replicas,
        gateway: Running,
        events: EventLog,
        folder: Path,
        *,
        node: Node | None = None,
        activator: Activator | None = None,
        clients: Clients | None = None,
    ) -> None:
        self._events = events
        self._activator = activator
        node = node or Node(NodeOptions().capacity())
        node.changed = self._room
        self._config = GatewayConfig(gateway, clients)
        self._targets = Targets(targets_file(folder))
        self._jobs = Jobs(events)
        self._services: dict[tuple[str, str], Service] = {}
        self._lock = threading.RLock()
        self._lives = Lives(supervisor, replicas, self._config, self._jobs, node, self._lock, self._emit, self._again)
        self._gateway_down = ""
        gateway.listeners.append(self._gateway_changed)
        if activator is not None:
            activator.moved = lambda: self._jobs.submit(self._after_activator)

    def apply(self, document: InferenceService) -> None:
        """Take a new or changed document; a mere change of weights is in effect when this returns."""
        self._standby(document)  # not under the lock: the first one may take the activator's start
        with self._lock:
            standby = self._standby(document)  # it may have been started again elsewhere meanwhile
            key = document.namespace, document.name
            service = self._services.get(key)
            refuse_same_host(document, self._services.values())
            if service is None:
                service = self._services[key] = Service(document, standby=standby)
            elif not service.take(document, standby):
                if service.observed < service.generation:  # it could not be put into effect; who asks again is told so
                    self._pass(service)
                return
            message = f"applied, generation {service.generation}"
            self._emit("service.applied", service, message, generation=service.generation)
            self._pass(service)

    def status(self, namespace: str, name: str) -> Status:
        """The status now; UsageError if there is no such service."""
        with self._lock:
            return self._service(namespace, name).status()

    def children(self, namespace: str, name: str) -> list[tuple[str, Child]]:
        """(revision, process) of each replica that runs, those that are being given up included."""
        with self._lock:
            return self._service(namespace, name).children()

    def wait_ready(self, namespace: str, name: str, deadline: Deadline) -> Status:
        """Wait until the service and its canaries are ready; ServiceFailed if one of them cannot become so."""
        wait(
            lambda: settled(self.status(namespace, name)),
            what=f"InferenceService {namespace}/{name} ready",
            deadline=deadline,
            state=lambda: told(self.status(namespace, name)),
        )
        found = self.status(namespace, name)
        if reason := why_not(found):
            with self._lock:
                logs = self._service(namespace, name).last_log
            raise ServiceFailed(f"InferenceService {namespace}/{name}: {reason}", hint=f"see {logs}" if logs else "")
        return found

    def delete(self, namespace: str, name: str, deadline: Deadline) -> None:
        """Remove the service: routes first, then its replicas, drained; returns when all of them have ended."""
        with self._lock:
            service = self._service(namespace, name)
            service.delete()
            self._emit("service.deleted", service, "deleted: routes are removed, replicas drain")
            self._pass(service)
        wait(
            lambda: service.gone() or not service.deleted,  # or applied anew by another thread
            what=f"InferenceService {namespace}/{name} deleted",
            deadline=deadline,
            state=lambda: f"{len(service.replicas) + len(service.retiring)} replicas left",
        )

    def counts(self, namespace: str, name: str, slower_than_ms: float) -> list[RevisionCounts]:
        """Each revision's requests since it was first routed: completed, failed (4xx, 5xx), slow, timed."""
        found = self._config.counts(namespace, name, slower_than_ms)
        return [
            RevisionCounts(
                revision=revision,
                requests=c.requests,
                failed=c.failed,
                slow=c.slow,
                timed=c.timed,
                routed=c.routed,
            )
            for revision, c in sorted(found.items())
        ]

    def scale(self, namespace: str, name: str, revision: str, replicas: int, why: str) -> None:
        """Have so many replicas of a revision that an autoscaler scales; nothing happens if there is no such one."""
        with self._lock:
            service = self._services.get((namespace, name))
            before = service.sizes.get(revision, replicas) if service and not service.deleted else replicas
            if service is None or before == replicas:
                return
            service.resize(**{revision: replicas})
            message = f"{revision}: {before} to {replicas} replicas: {why}"
            self._emit("service.scaled", service, message, revision=revision, before=before, after=replicas, reason=why)
            self._pass(service)

    def scaled(self, options: NodeOptions) -> list[Scaled]:
        """The revisions that an autoscaler scales, as they are now."""
        with self._lock:
            services = [service for service in self._services.values() if not service.deleted]
            return [each for service in services for each in scaled_of(service, options)]

    @property
    def gateway_client(self) -> EnvoyClient:
        """The gateway's counters."""
        return self._config.client

    def documents(self) -> list[InferenceService]:
        """What was applied last, of every service."""
        with self._lock:
            return [service.document for _, service in sorted(self._services.items()) if not service.deleted]

    def close(self) -> None:
        """Stop reacting; the supervisor stops the replicas."""
        with self._lock:
            self._jobs.close()
        self._config.close()

    def _service(self, namespace: str, name: str) -> Service:
        service = self._services.get((namespace, name))
        if service is None or service.deleted:
            known = ", ".join(f"{each.namespace}/{each.name}" for each in self.documents()) or "none"
            raise UsageError(f"no InferenceService {namespace}/{name} is applied; there are: {known}")
        return service

    def _pass(self, service: Service, loss: Loss | None = None) -> None:
        """Look, decide, act; `loss` is what brought it about if something was lost."""
        if self._jobs.closed:
            return
        self._note_serving(service, loss)
        self._lives.place(service)
        plan = planner.plan(service.wanted, service.views(), service.failures, service.routing, time.monotonic())
        for workload in plan.start:
            self._lives.start(service, workload)
        try:
            self._route(service, plan)
            for number in plan.retire:
                self._lives.retire(service, number)
            service.observe()
            self._targets.write(target for each in self._services.values() for target in each.scrape_targets())
        except PlatformError:
            self._wake(service, time.monotonic() + RETRY_S)
            raise
        self._note_serving(service, loss)
        if plan.wake_at is not None:
            self._wake(service, plan.wake_at)
        if service.gone():
            for cluster in service.clusters:
                self._config.drop_cluster(cluster)

    def _note_serving(self, service: Service, loss: Loss | None = None) -> None:
        """Tell when requests have no healthy replica to go to, and when they have one again."""
        if service.deleted:
            return
        missing = (NOBODY,) if self._gateway_down and service.was_served else service.unserved()
        if missing and service.outage is None:
            since, cause = loss or (time.time(), "none is ready")
            service.outage = outage = Outage(since, missing, cause)
            told = asdict(outage)
            self._emit("service.unserved", service, outage.words, level="warning", **told)
        elif service.outage and not missing:
            outage, service.outage = service.outage, None
            until = time.time()
            message = f"served again after {until - outage.since:.2f} s with {outage.words}"
            self._emit("service.served", service, message, **asdict(outage), until=until)

    def _gateway_changed(self, down: str) -> None:
        """The gateway died (`down` says how), or is back: its files are written anew, whatever became of them."""
        self._gateway_down = down
        loss = time.time(), down
        self._jobs.submit(lambda: self._after_gateway(loss))

    def _after_gateway(self, loss: Loss) -> None:
        with self._lock:
            try:
                if not self._gateway_down:
                    self._config.write_again()
            except PlatformError:
                self._jobs.at(time.monotonic() + RETRY_S, lambda: self._after_gateway(loss))
                raise
            for service in self._services.values():
                self._note_serving(service, loss)

    def _route(self, service: Service, plan: planner.Plan) -> None:
        routing = plan.routing
        self._hold(service, routing)
        if service.deleted:
            self._config.remove(service.last_wanted)
        else:
            self._config.route(service.last_wanted, routing, service.draining(plan.retire))
        if replace(routing, endpoints={}) != replace(service.routing, endpoints={}):
            weights = dict(routing.weights)
            self._emit(
                "service.routed",
                service,
                f"traffic: {routing.words}",
                weights=weights,
                apart=routing.apart,
                copies=routing.copies,
            )
        service.routed(routing)
        self._let_go(service, routing)

    def _standby(self, document: InferenceService) -> Address | None:
        """Who holds the requests of a service that may have no replica."""
        may_idle = document.spec.predictor.min_replicas == 0 and self._activator is not None
        return self._activator.address if may_idle and self._activator else None

    def _after_activator(self) -> None:
        """It was started again: it is told anew what it holds, and the gateway where it is."""
        with self._lock:
            for service in self._services.values():
                if self._activator is not None and service.standby is not None:
                    service.stand_by(self._activator.address)
                    self._jobs.submit(lambda service=service: self._again(service))  # type: ignore[misc]

    def _hold(self, service: Service, routing: Routing) -> None:
        """Before requests are led to the activator it must know of them."""
        if self._activator is not None and routing.idle(service.standby):
            wanted = service.last_wanted
            self._activator.hold(wanted.predictors_host, within_s=HELD * wanted.timeout_s)

    def _let_go(self, service: Service, routing: Routing) -> None:
        """After replicas are routed the activator hands back what it holds; if there will be none, it says why."""
        if self._activator is None or service.standby is None:
            return
        host = service.last_wanted.predictors_host
        if service.deleted:
            self._activator.refuse(host, "the service was deleted")
        elif not routing.idle(service.standby):
            self._activator.let_go(host)
        elif failure := service.gave_up():
            self._activator.refuse(host, failure)

    def _room(self) -> None:
        """There may be room on the node again: those that wait for it are looked at anew."""
        with self._lock:
            waiting = [s for s in self._services.values() if any(r.unplaced for r in s.replicas.values())]
        for service in waiting:
            self._jobs.submit(lambda service=service: self._again(service))  # type: ignore[misc]

    def _wake(self, service: Service, at: float) -> None:
        self._jobs.at(at, lambda: self._again(service))

    def _again(self, service: Service, loss: Loss | None = None) -> None:
        with self._lock:
            self._pass(service, loss)

    def _emit(self, kind: str, service: Service, message: str, *, level: Level = "info", **data: object) -> None:
        self._events.emit(kind, "/".join(service.key), message, level=level, **data)
