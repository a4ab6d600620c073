"""Gives a recipe life: ports, files, readiness, and restarts as the recipe says; a launcher says what it runs as."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from harness.clients.http import client
from harness.components.component import Component, fill
from harness.components.files import write_files
from harness.errors import PlatformError, PortTaken, ProcessExited, RehearsalError
from harness.runtime import ports as free_ports
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.nursery import Nursery
from harness.runtime.process import Child, ending
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

PORT_TRIES = 5
RESTART_S = 30.0
STEADY_S = 5.0
_TAKEN = "ddress already in use"


@dataclass
class Running:
    """A component that serves; `child` changes when it is restarted, the ports do not.

    `listeners` are told how it died when it did, and "" when it serves again.
    """

    component: Component
    folder: Path
    ports: Mapping[str, int]
    child: Child
    ready_s: float
    restarts: int = field(default=0)
    failed: str = ""
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def tell(self, down: str) -> None:
        for listener in self.listeners:
            listener(down)

    def url(self, port: str = "http") -> str:
        return f"http://{free_ports.LOOPBACK}:{self.ports[port]}"


class Launcher(Protocol):
    """What a world runs a recipe as."""

    def launch(self, component: Component, folder: Path, ports: Mapping[str, int], deadline: Deadline) -> Child:
        """Start it with its files in `folder`, reached at these ports of this machine, and return it ready.

        PortTaken if one of them was taken; nothing is left of what did not become ready.
        """
        ...


@dataclass(frozen=True)
class Starter:
    """Starts recipes below `folder`."""

    supervisor: Supervisor
    events: EventLog
    folder: Path
    launcher: Launcher

    def start(self, component: Component, deadline: Deadline) -> Running:
        """Start one component and return it ready; another port is tried when one was taken under us."""
        began = time.monotonic()
        folder = self.folder / component.name
        for left in reversed(range(PORT_TRIES)):
            ports = {name: free_ports.reserve() for name in component.ports}
            try:
                child = self.launcher.launch(component, folder, ports, deadline)
                running = Running(component, folder, ports, child, time.monotonic() - began)
            except PortTaken:
                if not left:
                    raise
                message = f"an address of {ports} was taken by somebody else: trying others"
                self.events.emit("component.port_taken", component.name, message, level="warning", ports=ports)
                continue
            self._ready(running)
            return running
        raise PlatformError(f"{component.name}: no free port")

    def hold(self, running: Running) -> Running:
        """Take a component that serves already, and start it again when it dies, as if it had been started here."""
        self._ready(running)
        return running

    def _ready(self, running: Running) -> None:
        component = running.component
        message = f"ready in {running.ready_s:.2f} s at {running.url(component.ports[0])}"
        self.events.emit("component.ready", component.name, message, version=component.version, ports=running.ports)
        self._watch(running)

    def _watch(self, running: Running) -> None:
        def died(code: int) -> None:
            running.tell(f"{running.component.name} {ending(code, running.child.cause)}")
            # Not in the watcher's thread: it has other deaths to tell while this component becomes ready again.
            threading.Thread(target=self._restart_or_tell, args=(running, code), daemon=True).start()

        self.supervisor.on_death(running.child, died)

    def _restart_or_tell(self, running: Running, code: int) -> None:
        """Nobody waits for this thread: what it raises is told as the component's end, and never lost."""
        try:
            self._restart(running, code)
        except Exception as error:
            name = running.component.name
            running.failed = f"{name} {ending(code)}; it cannot be started again: {type(error).__name__}: {error}"
            self.events.emit("component.failed", name, running.failed, level="error", code=code)

    def _restart(self, running: Running, code: int) -> None:
        component = running.component
        if time.monotonic() - running.began >= STEADY_S:
            running.restarts = 0
        if running.restarts >= component.restart.at_most:
            running.failed = message = f"{component.name} {ending(code)}; its recipe allows no further restart"
            self.events.emit("component.failed", component.name, message, level="error", code=code)
            return
        running.restarts += 1
        try:
            deadline = Deadline.after(RESTART_S)
            self.supervisor.stop(running.child)  # what is left of it, if there is anything
            as_it_lies = replace(component, files={})  # they may have changed since the first start
            running.child = self.launcher.launch(as_it_lies, running.folder, running.ports, deadline)
        except RehearsalError as error:
            if self.supervisor.closed:
                return
            self.events.emit("component.restart_failed", component.name, error.message, level="warning", code=code)
            self._restart(running, code)
            return
        running.began = time.monotonic()
        running.tell("")
        count = f"{running.restarts} of {component.restart.at_most}"
        message = f"{component.name} {ending(code)}; started again ({count})"
        self.events.emit("component.restarted", component.name, message, level="warning", code=code)
        self._watch(running)


@dataclass(frozen=True)
class Processes:
    """Launches processes; with a nursery, what has a warm entry point is forked instead of exec'ed."""

    supervisor: Supervisor
    nursery: Callable[[], Nursery] | None = None

    def launch(self, component: Component, folder: Path, ports: Mapping[str, int], deadline: Deadline) -> Child:
        write_files(component, folder, ports)
        child = self._process(component, folder, ports, deadline)
        try:
            _wait_ready(component, ports, child, deadline)
        except RehearsalError as error:
            self.supervisor.stop(child)
            if isinstance(error, ProcessExited) and _TAKEN in error.message:
                raise PortTaken(error.message, hint=error.hint) from error
            raise
        return child

    def _process(self, component: Component, folder: Path, ports: Mapping[str, int], deadline: Deadline) -> Child:
        def filled(template: Any) -> Any:
            return fill(template, folder=folder, ports=ports)

        env = filled(component.env)
        if component.warm and self.nursery is not None:
            config = filled(component.config)
            return self.supervisor.fork(
                component.name, component.warm, config, nursery=self.nursery(), env=env, deadline=deadline
            )
        return self.supervisor.spawn(component.name, filled(component.argv), env=env)


def _wait_ready(component: Component, ports: Mapping[str, int], child: Child, deadline: Deadline) -> None:
    what = f"{component.name} ready"
    ready = component.ready
    port = ports[ready.port]
    with client(f"http://{free_ports.LOOPBACK}:{port}", timeout_s=5.0) as http:

        def answers() -> bool:
            return http.get(ready.path).status_code == 200 and free_ports.listens(child.pid, port)

        wait(answers, what=what, deadline=deadline, child=child)
