"""What can be made to fail in the containers world: what fails as processes do, and what only containers have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from docker.errors import APIError

from harness.backends.containers.child import ContainerChild
from harness.backends.containers.launcher import Containers
from harness.backends.containers.replicas import MODELS, RESOLV_CONF, USUAL_RESOLVER
from harness.backends.embedded.faults import EmbeddedFaults
from harness.backends.embedded.starter import Running
from harness.backends.status import Status
from harness.components.slow_names import READY, slow_names
from harness.containers.refusals import in_a_line
from harness.errors import CapabilityMissing, PlatformError, UsageError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait

Undo = Callable[[], None]
SLOW_S = 1.5
"""How late a name is told while names are slow; a resolver gives up after five seconds."""
START_S = 20.0
NOTICED_S = 2.0
"""The engine refuses what it is asked of a container before its child has noticed the end."""
FILLER = f"{MODELS}/.filler"
_USE_UP_MEMORY = (
    "open('/proc/1/oom_score_adj', 'w').write('1000')\n"  # the kernel shall choose the server, and not this program
    "kept = []\n"
    "while True: kept.append(bytearray(8 << 20))"
)
_FILL = (
    "import os, sys\n"
    "file = open(sys.argv[1], 'wb', buffering=0)\n"
    "try:\n"
    "    while file.write(bytes(1 << 16)): pass\n"
    "except OSError: pass"
)
_IS_IN = "already exists in network"
_UNLINK = "import pathlib, sys; pathlib.Path(sys.argv[1]).unlink(missing_ok=True)"


class ContainerFaults(EmbeddedFaults):
    """A container is killed and paused as a process is; its memory, network, volume and names can fail as well."""

    def __init__(
        self,
        containers: Containers,
        events: EventLog,
        folder: Path,
        running: Mapping[str, Running],
        status: Callable[[str, str], Status],
    ) -> None:
        super().__init__(containers.supervisor, events, folder, running, status)
        self._containers = containers
        self._resolver = self._replicas / RESOLV_CONF

    def disrupt(self, fault: str, namespace: str, name: str, revision: str) -> Undo | None:
        """Commit a fault of harness.chaos.faults.CONTAINER_FAULTS; CapabilityMissing for those of a cluster."""
        acts: dict[str, Callable[[str, str, str], Undo | None]] = {
            "replica-out-of-memory": self._use_up_memory,
            "replica-cut-off": self._cut_off,
            "volume-full": self._fill_volume,
            "dns-slow": self._slow_names,
        }
        if fault not in acts:
            raise CapabilityMissing(f"fault {fault}", hint="it is one of a cluster: --backend kind.")
        return acts[fault](namespace, name, revision)

    def _use_up_memory(self, namespace: str, name: str, revision: str) -> None:
        child = self._one_of(namespace, name, revision)
        self._told(child, "its memory is used up")
        with contextlib.suppress(PlatformError):  # it ends in the middle of it
            child.execute(_python(_USE_UP_MEMORY))

    def _cut_off(self, namespace: str, name: str, revision: str) -> Undo:
        child, network = self._one_of(namespace, name, revision), self._containers.ground.network
        address = child.address(network.name)
        self._told(child, f"leaves the network {network.name}")
        with in_a_line(child.name):
            network._unwrap_network.disconnect(child.id, force=True)

        def join() -> None:
            with _while_it_lives(child):  # else it was found dead, and replaced
                with in_a_line(child.name), _unless_joined():
                    network._unwrap_network.connect(child.id, ipv4_address=address, aliases=[child.name])
                self._told(child, f"joins the network {network.name}")

        return join

    def _fill_volume(self, namespace: str, name: str, revision: str) -> Undo:
        child = self._any_of(namespace, name)
        self._told(child, f"fills the volume {MODELS}")
        code, said = child.execute(_python(_FILL, FILLER))
        if code:
            raise PlatformError(f"fault volume-full: {child.name}: {said.strip()}")

        def free() -> None:
            with contextlib.suppress(UsageError):  # with the last replica its volume went, too
                child = self._any_of(namespace, name)
                with _while_it_lives(child):
                    child.execute(_python(_UNLINK, FILLER))
            self._tell(f"{namespace}/{name}", f"the volume {MODELS} has room again", "ended")

        return free

    def _slow_names(self, namespace: str, name: str, revision: str) -> Undo:
        recipe = slow_names(SLOW_S)
        child = self._containers.start(recipe, self._replicas / recipe.name, {})
        said = lambda: READY in child.tail()  # noqa: E731
        wait(said, what=f"{recipe.name} ready", deadline=Deadline.after(START_S), child=child)
        address = child.address(self._containers.ground.network.name)
        self._tell(f"{namespace}/{name}", f"names are told {SLOW_S:g} s late", "names", delay_s=SLOW_S)
        self._resolve_by(f"nameserver {address}\n")

        def quick() -> None:
            self._resolve_by(USUAL_RESOLVER)
            self._supervisor.stop(child, 0.0)
            self._tell(f"{namespace}/{name}", "names are told at once again", "ended")

        return quick

    def _resolve_by(self, text: str) -> None:
        """In place: it is the file itself that is mounted into containers, and not its folder."""
        self._resolver.write_text(text, encoding="ascii")

    def _one_of(self, namespace: str, name: str, revision: str) -> ContainerChild:
        pids = {each.pid for each in self.replicas(namespace, name, revision)}
        return self._held(pids, f"{namespace}/{name} {revision}")

    def _any_of(self, namespace: str, name: str) -> ContainerChild:
        pids = {each.pid for each in self._status(namespace, name).replicas if each.state == "ready"}
        return self._held(pids, f"{namespace}/{name}")

    def _held(self, pids: set[int], whose: str) -> ContainerChild:
        found = [child for child in self._supervisor.children() if child.pid in pids and child.poll() is None]
        if not found:
            raise UsageError(f"fault: {whose} has no replica that runs")
        return cast(ContainerChild, found[0])

    def _told(self, child: ContainerChild, message: str, **data: Any) -> None:
        self._tell(child.name, message, "container", pid=child.pid, **data)


@contextlib.contextmanager
def _unless_joined() -> Iterator[None]:
    """Passes over the one refusal that means that the container is in the network already."""
    try:
        yield
    except APIError as error:
        if _IS_IN not in str(error):
            raise


@contextlib.contextmanager
def _while_it_lives(child: ContainerChild) -> Iterator[None]:
    """Passes over what the engine refuses to a container that has ended, or is being removed."""
    try:
        yield
    except PlatformError:
        if not child.stopping and child.wait(NOTICED_S) is None:
            raise


def _python(code: str, *arguments: str) -> list[str]:
    """A small program for the Python of an image of ours."""
    return ["python", "-S", "-E", "-c", code, *arguments]
