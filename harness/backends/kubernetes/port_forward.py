"""Ways from this machine's loopback address into a cluster that is not on it: kubectl port-forward, kept alive."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.ports import LOOPBACK
from harness.runtime.process import Child
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

START_S = 20.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@dataclass(frozen=True)
class Target:
    """A port of a Service or a Deployment, such as "service/mlflow"."""

    namespace: str
    name: str
    port: int


class Forwards:
    """One forward for each target; one that has ended, as with its Pod, is begun anew at the same port."""

    def __init__(self, supervisor: Supervisor, kubectl: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._kubectl = tuple(kubectl)
        self._children: dict[Target, Child] = {}
        self._ports: dict[Target, int] = {}
        self._lock = threading.Lock()

    def url(self, target: Target) -> str:
        """Where a target is reached from this machine."""
        with self._lock:
            child = self._children.get(target)
            if child is None or child.poll() is not None:
                self._start(target)
            return f"http://{LOOPBACK}:{self._ports[target]}"

    def stop(self, target: Target) -> None:
        """End a target's forward, if it has one."""
        with self._lock:
            child = self._children.pop(target, None)
            self._ports.pop(target, None)
        if child is not None:
            self._supervisor.stop(child)

    def _start(self, target: Target) -> None:
        """Let kubectl choose a port, or take the one that this target had."""
        name = f"forward-{target.name.replace('/', '-')}-{len(self._children)}"
        ports = f"{self._ports.get(target, '')}:{target.port}"
        argv = [*self._kubectl, "port-forward", "--address", LOOPBACK, "--namespace", target.namespace]
        child = self._supervisor.spawn(name, [*argv, target.name, ports], task=True)
        try:
            port = wait(lambda: announced(child.tail()), what=name, deadline=Deadline.after(START_S), child=child)
        except PlatformError:
            self._supervisor.stop(child)
            raise
        self._children[target], self._ports[target] = child, port


def announced(log: str) -> int | None:
    """The port that kubectl says it forwards from, the last one if it was started several times."""
    found = _FORWARDING.findall(log)
    return int(found[-1]) if found else None
