"""Runs a component's recipe as a container, held by the supervisor like a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from docker.errors import DockerException
from requests.exceptions import RequestException
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from harness.backends.containers.child import ContainerChild
from harness.backends.containers.ground import Ground
from harness.components.component import Component
from harness.containers.ready import wait_ready
from harness.containers.recipe import ComponentContainer
from harness.containers.refusals import in_a_line
from harness.errors import RehearsalError
from harness.runtime.clock import Deadline
from harness.runtime.supervisor import Supervisor


class AtOnce(WaitStrategy):
    """Returns at once: who waits for readiness holds the container as a child by then, and so sees its end."""

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        return


@dataclass(frozen=True)
class Mounted:
    """A folder of this machine, or a volume, at a path in a container."""

    source: str
    path: str
    writable: bool = False


@dataclass(frozen=True)
class Containers:
    """Launches recipes on a run's ground; a component is known to the others by its name."""

    supervisor: Supervisor
    ground: Ground
    mounts: Mapping[str, tuple[Mounted, ...]] = field(default_factory=dict)
    """Component's name -> what it has beside its own folder."""
    joins: Mapping[str, Network] = field(default_factory=dict)
    """Component's name -> a network that it is in beside the run's."""

    def launch(
        self, component: Component, folder: Path, ports: Mapping[str, int], deadline: Deadline
    ) -> ContainerChild:
        child = self.start(component, folder, ports, mounts=self.mounts.get(component.name, ()))
        try:
            wait_ready(component, child, ports.get, deadline)
        except RehearsalError:
            self.supervisor.stop(child)
            raise
        return child

    def start(
        self, component: Component, folder: Path, ports: Mapping[str, int], *, mounts: tuple[Mounted, ...] = ()
    ) -> ContainerChild:
        """Start a container and return before it is ready.

        PortTaken if one of the ports was taken, PlatformError for what else the engine refuses; nothing is left then.
        """
        with self.ground.launching(component.name), in_a_line(component.name):
            container = ComponentContainer(component).with_folder(folder).with_network(self.ground.network)
            container.with_labels(self.ground.labels).waiting_for(AtOnce())
            for name, port in ports.items():
                container.with_bind_ports(component.inside[name], port)
            for mount in mounts:
                container.with_volume_mapping(mount.source, mount.path, "rw" if mount.writable else "ro")
            container.start()
            child = self._held(component, container)
            if other := self.joins.get(component.name):
                self._join(child, other)
            return child

    def take(self, component: Component, container: ComponentContainer) -> ContainerChild:
        """Take a container that was started for whoever needs one: it joins the run, and belongs to its supervisor.

        PlatformError for what the engine refuses; nothing is left then.
        """
        with self.ground.launching(component.name), in_a_line(component.name):
            child = self._held(component, container)
            self._join(child, self.ground.network, [component.name])
            return child

    def _held(self, component: Component, container: ComponentContainer) -> ContainerChild:
        log = self.supervisor.log_path(component.name)
        try:
            child = ContainerChild(component.name, container, log, limit_mib=component.limits.memory_mib)
        except (DockerException, RequestException):
            container.stop()
            raise
        self.supervisor.adopt(child)
        return child

    def _join(self, child: ContainerChild, network: Network, aliases: list[str] | None = None) -> None:
        try:
            network.connect(child.id, network_aliases=aliases)
        except (DockerException, RequestException):
            self.supervisor.stop(child, 0.0)
            raise
