"""What can be made to fail in the embedded world; only what this run started is ever signalled."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.backends.embedded.replicas import fault_file, replicas_folder
from harness.backends.embedded.starter import Running
from harness.backends.status import ReplicaStatus, Status
from harness.clients.envoy import EnvoyClient
from harness.components.fault_hook import parse_fault
from harness.components.files import replace_text
from harness.components.gateway import RDS, ROUTES
from harness.errors import CapabilityMissing, PlatformError, UsageError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

REFUSED_S = 10.0
ELSEWHERE = "it is one of containers or of a cluster: --backend containers, --backend kind (docs/chaos.md says which)."
_HOSTS = [{"name": name, "domains": ["twice.example.com"]} for name in ("one", "other")]
_ROUTES = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": ROUTES}
_REFUSED = json.dumps({"resources": [{**_ROUTES, "virtual_hosts": _HOSTS}]})  # a domain may be there only once


class EmbeddedFaults:
    """Kills, stops and spoils parts of one platform; each call is told as an event "fault.…"."""

    def __init__(
        self,
        supervisor: Supervisor,
        events: EventLog,
        folder: Path,
        running: Mapping[str, Running],
        status: Callable[[str, str], Status],
    ) -> None:
        self._supervisor = supervisor
        self._events = events
        self._replicas = replicas_folder(folder)
        self._running = running
        self._status = status

    def replicas(self, namespace: str, name: str, revision: str) -> list[ReplicaStatus]:
        """The revision's processes that are there now, with their pids, states, addresses and logs."""
        return [each for each in self._status(namespace, name).replicas if each.revision == revision and each.pid]

    def gateway(self) -> int:
        """The pid of the gateway; UsageError if there is none, as for the others."""
        return self._pid("envoy")

    def mlflow(self) -> int:
        return self._pid("mlflow")

    def prometheus(self) -> int:
        return self._pid("prometheus")

    def kill(self, pid: int) -> None:
        """End one of this run's processes by -9; what its recipe or its controller says of that follows."""
        self._signal(pid, signal.SIGKILL)

    def stop(self, pid: int) -> None:
        """Let one of this run's processes stand still; connections to it are accepted, and nothing is answered."""
        self._signal(pid, signal.SIGSTOP)

    def cont(self, pid: int) -> None:
        """Let a process that stands still go on."""
        self._signal(pid, signal.SIGCONT)

    def inject(self, namespace: str, name: str, revision: str, fault: Mapping[str, Any]) -> None:
        """Have every replica of a revision, also one that is started later, commit a fault until `clear`.

        `fault` has the fields of harness.components.fault_hook.ServerFault; UsageError for what it cannot be.
        """
        parse_fault(fault)
        path = fault_file(self._replicas, namespace, name, revision)
        self._tell(f"{namespace}/{name}", f"{revision}: {json.dumps(dict(fault))}", "injected", revision=revision)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps(dict(fault)), beside=path.parent)
        except OSError as error:
            raise PlatformError(f"cannot write {path}: {error.strerror}") from error

    def clear(self, namespace: str, name: str, revision: str) -> None:
        """End the fault of a revision's replicas; nothing happens if there is none."""
        fault_file(self._replicas, namespace, name, revision).unlink(missing_ok=True)
        self._tell(f"{namespace}/{name}", f"{revision}: no fault", "cleared", revision=revision)

    def disrupt(self, fault: str, namespace: str, name: str, revision: str) -> Callable[[], None] | None:
        """Neither a cluster nor containers are here."""
        raise CapabilityMissing(f"fault {fault}", hint=ELSEWHERE)

    def reject_gateway_config(self) -> None:
        """Put routes before Envoy that it refuses; it keeps what it had, and the controller's next write mends it."""
        envoy = self._running["envoy"]
        with EnvoyClient(envoy.url("http"), envoy.url("admin")) as client:
            before = client.routes_rejected()
            self._tell("envoy", "a route file that it refuses", "gateway_config")
            replace_text(envoy.folder / RDS / "rds.json", _REFUSED, beside=envoy.folder / "scratch")
            wait(
                lambda: client.routes_rejected() > before,
                what="gateway: refused routes",
                deadline=Deadline.after(REFUSED_S),
            )

    def _pid(self, component: str) -> int:
        if component not in self._running:
            raise UsageError(f"fault: {component} does not run here; there are: {', '.join(self._running) or 'none'}")
        return self._running[component].child.pid

    def _signal(self, pid: int, signum: signal.Signals) -> None:
        child = next((child for child in self._supervisor.children() if child.pid == pid), None)
        if child is None:
            raise UsageError(f"fault: process {pid} is none that this run started")
        self._tell(child.name, f"{signum.name} to process {pid}", "signal", pid=pid, signal=signum.name)
        child.kill(signum)

    def _tell(self, subject: str, message: str, what: str, **data: Any) -> None:
        self._events.emit(f"fault.{what}", subject, message, level="warning", **data)
