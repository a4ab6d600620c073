"""The lives of replicas: started, ready, died, retired; each change is told to the controller, which decides."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Protocol

from harness.backends.embedded._service import LiveReplica, Loss, Service
from harness.backends.embedded.gateway_config import GatewayConfig
from harness.backends.embedded.jobs import Jobs
from harness.backends.embedded.liveness import Watch
from harness.backends.embedded.node import Node
from harness.backends.embedded.planner import Address
from harness.backends.embedded.replicas import Replicas, cannot_load_line
from harness.backends.embedded.revisions import Workload
from harness.backends.embedded.routes import cluster_name
from harness.components.model_server import CANNOT_LOAD
from harness.components.replica import DRAIN_S
from harness.errors import RehearsalError, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.events import Level
from harness.runtime.process import Child
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

START_S = 60.0
STARTING = 8
"""So many replicas are started at a time."""
PROBE_EVERY_S = 1.0
LAST_COUNTS_S = 3.0
"""A retired revision's counters stay for so long: Prometheus asks once a second, and shall see what it counted last."""


class Emit(Protocol):
    def __call__(self, kind: str, service: Service, message: str, *, level: Level = "info", **data: object) -> None: ...


class Changed(Protocol):
    def __call__(self, service: Service, loss: Loss | None = None) -> None: ...


class Lives:
    """Acts on replicas in the background; services are changed under the controller's lock alone."""

    def __init__(
        self,
        supervisor: Supervisor,
        starter: Replicas,
        config: GatewayConfig,
        jobs: Jobs,
        node: Node,
        lock: threading.RLock,
        emit: Emit,
        changed: Changed,
    ) -> None:
        self._supervisor = supervisor
        self._starter = starter
        self._config = config
        self._jobs = jobs
        self._node = node
        self._lock = lock
        self._emit = emit
        self._changed = changed
        self._numbers = itertools.count(1)
        self._slots = threading.Semaphore(STARTING)

    def start(self, service: Service, workload: Workload) -> None:
        """Start one replica; the controller is told when it is ready, or when it cannot become so."""
        replica = LiveReplica(next(self._numbers), workload, time.monotonic())
        service.replicas[replica.number] = replica
        self._place(service, replica)

    def place(self, service: Service) -> None:
        """Start those replicas that found no place, if there is one now."""
        for replica in list(service.replicas.values()):
            if replica.unplaced:
                self._place(service, replica)

    def _place(self, service: Service, replica: LiveReplica) -> None:
        before, workload = replica.unplaced, replica.workload
        replica.unplaced = why = self._node.place(replica.number, dict(workload.requests))
        if not why:
            self._jobs.submit(lambda: self._in_turn(service, replica))
        elif why != before:
            message = f"{workload.name}-{replica.number} is pending: {why}"
            self._emit("replica.pending", service, message, level="warning", revision=workload.name, reason=why)

    def _in_turn(self, service: Service, replica: LiveReplica) -> None:
        """Not all at once: what is started beside too many others is not ready in its time."""
        with self._slots:
            if replica.number not in service.replicas or not self._bring_up(service, replica):
                return
        assert replica.child is not None
        self._keep_watch(service, replica, replica.child)

    def _bring_up(self, service: Service, replica: LiveReplica) -> bool:
        deadline = Deadline.after(START_S)
        try:
            child = self._starter.launch(service.last_wanted, replica.workload, replica.number, deadline)
            if not self._still_wanted(service, replica, child):
                self._supervisor.stop(child)
                return False
            self._supervisor.on_death(child, lambda code: self._on_death(service, replica, code))
            address = self._starter.wait_ready(service.last_wanted, child, deadline)
        except RehearsalError as error:
            self._did_not_start(service, replica, error)
            return False
        with self._lock:
            if replica.number not in service.replicas:
                return False
            replica.address, replica.ready_at = address, time.monotonic()
            took = replica.ready_at - replica.created
            message = f"{child.name} ready in {took:.2f} s"
            self._emit("replica.ready", service, message, revision=replica.workload.name, pid=child.pid, ready_s=took)
            self._changed(service)
        return True

    def _keep_watch(self, service: Service, replica: LiveReplica, child: Child) -> None:
        """Kill a replica that has stopped to answer: its death is what the controller knows how to mend."""
        assert replica.address is not None
        with Watch(child.pid, self._starter.reached_at(child, replica.address)) as watch:
            while self._jobs.go_on_after(PROBE_EVERY_S) and replica.number in service.replicas:
                if watch.hangs():
                    message = f"{child.name} has answered nothing for {time.time() - watch.silent_since:.0f} s; killed"
                    replica.loss = watch.silent_since, message
                    child.kill()
                    return

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
            loss = time.time(), error.message.splitlines()[0]
            self._lost(service, replica, "StartFailed", loss, final=False)
        else:
            self._died(service, replica, code, time.time())

    def _on_death(self, service: Service, replica: LiveReplica, code: int) -> None:
        at = time.time()
        self._jobs.submit(lambda: self._died(service, replica, code, at))

    def _died(self, service: Service, replica: LiveReplica, code: int, at: float) -> None:
        assert replica.child is not None
        self._supervisor.stop(replica.child)
        why = cannot_load_line(replica.child.tail())
        if code == CANNOT_LOAD:
            self._lost(service, replica, "ModelLoadFailed", (at, why), final=True)
        else:
            how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}: {why}"
            if replica.child.cause:
                how = f"{how}: {replica.child.cause}"
            loss = replica.loss or (at, f"{replica.child.name} {how}")
            self._lost(service, replica, "ReplicaDied", loss, final=False)

    def _lost(self, service: Service, replica: LiveReplica, reason: str, loss: Loss, *, final: bool) -> None:
        _, message = loss
        with self._lock:
            if service.replicas.pop(replica.number, None) is None:
                return
            self._node.release(replica.number)
            service.record_death(replica, reason, message, final=final, now=time.monotonic())
            level: Level = "error" if final else "warning"
            self._emit(
                "replica.died",
                service,
                message,
                level=level,
                revision=replica.workload.name,
                reason=reason,
                was_ready=replica.ready_at is not None,
            )
            self._changed(service, loss)

    def retire(self, service: Service, number: int) -> None:
        """Let a replica that gets no request any more end those that it has, and stop it."""
        replica = service.replicas.pop(number)
        service.retiring[number] = replica
        self._jobs.submit(lambda: self._drain_and_stop(service, replica))

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
                self._node.release(replica.number)
                self._jobs.at(time.monotonic() + LAST_COUNTS_S, lambda: self._forget_cluster(service, replica))
                if not service.deleted:
                    self._changed(service)  # its address leaves the gateway's list

    def _forget_cluster(self, service: Service, replica: LiveReplica) -> None:
        with self._lock:
            if not self._jobs.closed and not service.uses(replica.workload.name):
                self._config.drop_cluster(cluster_name(*service.key, replica.workload.name))
