"""The embedded controller: keeps what runs and what the gateway routes equal to the applied documents.

Every change (a document, a replica that is ready, a death, the end of a back-off) leads to one pass: ask the pure
planner, start processes in the background, put the routing into effect and confirm it, retire in the background what
lost its traffic. Passes run one at a time under one lock.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.backends.embedded import planner
from harness.backends.embedded._service import LiveReplica, Service, refuse_same_host
from harness.backends.embedded.conditions import settled, told, why_not
from harness.backends.embedded.gateway_config import GatewayConfig
from harness.backends.embedded.planner import Address
from harness.backends.embedded.replicas import ReplicaStarter, cannot_load_line
from harness.backends.embedded.revisions import Workload
from harness.backends.embedded.routes import cluster_name
from harness.backends.embedded.starter import Running, replace_text
from harness.backends.inference_service import InferenceService
from harness.backends.status import Status
from harness.components.model_server import CANNOT_LOAD
from harness.components.replica import DRAIN_S
from harness.errors import PlatformError, RehearsalError, ServiceFailed, UsageError, WaitTimeout
from harness.report.record import RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog, Level
from harness.runtime.nursery import Nursery
from harness.runtime.process import Child
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

START_S = 60.0
RETRY_S = 1.0


def targets_file(folder: Path) -> Path:
    """Where a controller with this folder lists its replicas for Prometheus."""
    return folder / "replicas" / "targets.json"


class Controller:
    """Applies InferenceService documents; every method may be called from any thread."""

    def __init__(
        self,
        supervisor: Supervisor,
        nursery: Callable[[], Nursery] | None,
        gateway: Running,
        tracking_uri: str,
        events: EventLog,
        folder: Path,
    ) -> None:
        self._supervisor = supervisor
        self._events = events
        self._config = GatewayConfig(gateway)
        self._starter = ReplicaStarter(supervisor, nursery, tracking_uri, gateway.url("http"), folder / "replicas")
        self.targets_file = targets_file(folder)
        self.targets_file.parent.mkdir(parents=True, exist_ok=True)
        self._targets = ""
        self._services: dict[tuple[str, str], Service] = {}
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._timers: set[threading.Timer] = set()
        self._closed = False

    def apply(self, document: InferenceService) -> None:
        """Take a new or changed document; a mere change of weights is in effect when this returns."""
        with self._lock:
            key = document.namespace, document.name
            service = self._services.get(key)
            refuse_same_host(document, self._services.values())
            if service is None or service.deleted:
                service = self._services[key] = Service(document)
            elif not service.change(document):
                return
            message = f"applied, generation {service.generation}"
            self._emit("service.applied", service, message, generation=service.generation)
            self._pass(service)

    def status(self, namespace: str, name: str) -> Status:
        """The status now; UsageError if there is no such service."""
        with self._lock:
            return self._service(namespace, name).status()

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
            lambda: service.gone(),
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

    def services(self) -> list[tuple[str, str]]:
        """(namespace, name) of every service."""
        with self._lock:
            return sorted(key for key, service in self._services.items() if not service.deleted)

    def close(self) -> None:
        """Stop reacting; the supervisor stops the replicas."""
        with self._lock:
            self._closed = True
            for timer in self._timers:
                timer.cancel()
        self._config.close()

    def _service(self, namespace: str, name: str) -> Service:
        service = self._services.get((namespace, name))
        if service is None or service.deleted:
            known = ", ".join("/".join(key) for key in self.services()) or "none"
            raise UsageError(f"no InferenceService {namespace}/{name} is applied; there are: {known}")
        return service

    def _pass(self, service: Service) -> None:
        if self._closed:
            return
        plan = planner.plan(service.wanted, service.views(), service.failures, service.routing, time.monotonic())
        for workload in plan.start:
            self._start(service, workload)
        try:
            self._route(service, plan)
            for number in plan.retire:
                self._retire(service, number)
            service.observe()
            self._tell_replicas()
        except PlatformError:
            self._wake(service, time.monotonic() + RETRY_S)
            raise
        if plan.wake_at is not None:
            self._wake(service, plan.wake_at)
        if service.gone():
            for cluster in service.clusters:
                self._config.drop_cluster(cluster)

    def _tell_replicas(self) -> None:
        """Keep the list of the replicas for Prometheus, in its own format (file_sd)."""
        targets = [target for service in self._services.values() for target in service.scrape_targets()]
        text = json.dumps(targets)
        if text == self._targets:
            return
        try:
            replace_text(self.targets_file, text, beside=self.targets_file.parent)
        except OSError as error:
            raise PlatformError(f"cannot write {self.targets_file}: {error.strerror}") from error
        self._targets = text

    def _route(self, service: Service, plan: planner.Plan) -> None:
        routing = plan.routing
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

    def _start(self, service: Service, workload: Workload) -> None:
        replica = LiveReplica(next(self._numbers), workload, time.monotonic())
        service.replicas[replica.number] = replica
        self._submit(lambda: self._bring_up(service, replica))

    def _bring_up(self, service: Service, replica: LiveReplica) -> None:
        deadline = Deadline.after(START_S)
        try:
            child = self._starter.launch(service.last_wanted, replica.workload, replica.number, deadline)
            if not self._still_wanted(service, replica, child):
                self._supervisor.stop(child)
                return
            self._supervisor.on_death(child, lambda code: self._submit(lambda: self._died(service, replica, code)))
            address = self._starter.wait_ready(service.last_wanted, child, deadline)
        except RehearsalError as error:
            self._did_not_start(service, replica, error)
            return
        with self._lock:
            if replica.number not in service.replicas:
                return
            replica.address, replica.ready_at = address, time.monotonic()
            took = replica.ready_at - replica.created
            message = f"{child.name} ready in {took:.2f} s"
            self._emit("replica.ready", service, message, revision=replica.workload.name, pid=child.pid, ready_s=took)
            self._pass(service)

    def _still_wanted(self, service: Service, replica: LiveReplica, child: Child) -> bool:
        with self._lock:
            replica.child = child
            service.last_log = child.log
            return replica.number in service.replicas

    def _did_not_start(self, service: Service, replica: LiveReplica, error: RehearsalError) -> None:
        child = replica.child
        code = child.poll() if child is not None else None
        if child is not None and code is None:
            self._supervisor.stop(child)
        if code is None:
            self._lost(service, replica, "StartFailed", error.message.splitlines()[0], final=False)
        else:
            self._died(service, replica, code)

    def _died(self, service: Service, replica: LiveReplica, code: int) -> None:
        assert replica.child is not None
        self._supervisor.stop(replica.child)
        why = cannot_load_line(replica.child.tail())
        if code == CANNOT_LOAD:
            self._lost(service, replica, "ModelLoadFailed", why, final=True)
        else:
            how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}: {why}"
            self._lost(service, replica, "ReplicaDied", f"{replica.child.name} {how}", final=False)

    def _lost(self, service: Service, replica: LiveReplica, reason: str, message: str, *, final: bool) -> None:
        with self._lock:
            if service.replicas.pop(replica.number, None) is None:
                return
            service.record_death(replica, reason, message, final=final, now=time.monotonic())
            level: Level = "error" if final else "warning"
            self._emit("replica.died", service, message, level=level, revision=replica.workload.name, reason=reason)
            self._pass(service)

    def _retire(self, service: Service, number: int) -> None:
        replica = service.replicas.pop(number)
        service.retiring[number] = replica
        self._submit(lambda: self._drain_and_stop(service, replica))

    def _drain_and_stop(self, service: Service, replica: LiveReplica) -> None:
        try:
            if replica.address is not None:
                self._drained(service, replica.workload.name, replica.address)
            stopped = f"{replica.workload.name}-{replica.number} drained and stopped"
        except WaitTimeout as error:
            self._emit("replica.drain_timeout", service, error.message, level="warning")
            stopped = f"{replica.workload.name}-{replica.number} stopped with requests left"
        finally:
            self._stop_retired(service, replica)
        self._emit("replica.retired", service, stopped)

    def _drained(self, service: Service, workload: str, address: Address) -> None:
        cluster = cluster_name(*service.key, workload)
        wait(
            lambda: self._config.active_requests(cluster, address) == 0,
            what=f"{cluster} at {address[0]}:{address[1]} drained",
            deadline=Deadline.after(service.last_wanted.timeout_s),
        )

    def _stop_retired(self, service: Service, replica: LiveReplica) -> None:
        try:
            if replica.child is not None:
                self._supervisor.stop(replica.child, DRAIN_S + 5.0)
        finally:
            with self._lock:
                service.retiring.pop(replica.number, None)
                self._forget_cluster(service, replica.workload.name)
                if not service.deleted:
                    self._again(service)  # its address leaves the gateway's list

    def _forget_cluster(self, service: Service, workload: str) -> None:
        if not self._closed and not service.uses(workload):
            self._config.drop_cluster(cluster_name(*service.key, workload))

    def _wake(self, service: Service, at: float) -> None:
        timer = threading.Timer(max(0.0, at - time.monotonic()), lambda: self._submit(lambda: self._again(service)))
        timer.daemon = True
        self._timers = {other for other in self._timers if other.is_alive()} | {timer}
        timer.start()

    def _again(self, service: Service) -> None:
        with self._lock:
            if self._services.get(service.key) is service:  # not deleted and applied anew since
                self._pass(service)

    def _submit(self, job: Callable[[], None]) -> None:
        # Daemon threads: a replica that is still being waited for must not hold up the end of the program.
        if not self._closed:
            threading.Thread(target=self._guarded, args=(job,), name="controller", daemon=True).start()

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except RehearsalError as error:
            if not self._closed:
                self._events.emit("controller.error", "controller", error.message, level="error")
        except RuntimeError:  # httpx, of a client that `close` has closed under the job
            if not self._closed:
                raise

    def _emit(self, kind: str, service: Service, message: str, *, level: Level = "info", **data: object) -> None:
        self._events.emit(kind, "/".join(service.key), message, level=level, **data)
