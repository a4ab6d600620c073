"""When a container is ready: as its recipe says, whoever has started it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from docker.models.containers import Container
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from harness.clients.http import client
from harness.components.component import LOOPBACK, Component
from harness.containers.refusals import in_a_line
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.wait import Watched, wait

_EVERY_S = 0.02
_COMMAND_EVERY_S = 0.1


class Held(Watched, Protocol):
    """A container that somebody has started."""

    def execute(self, argv: list[str]) -> tuple[int, str]:
        """Run a program inside of it: exit code, output. Errors: PlatformError, also if it has ended."""
        ...


def wait_ready(
    component: Component,
    held: Held,
    port_of: Callable[[str], int | None],
    deadline: Deadline,
    *,
    fail: Callable[[], str | None] | None = None,
) -> None:
    """Wait until a container answers as its recipe says; `port_of`: the port of this machine, None if not known yet.

    Errors: ProcessExited as soon as it has ended, WaitTimeout, both with the end of its log; PlatformError when
    `fail()` gives a reason.
    """
    ready = component.ready
    with client(timeout_s=5.0) as http:

        def answers() -> bool:
            if ready.command:
                return _succeeds(held, list(ready.command))
            port = port_of(ready.port)
            return port is not None and http.get(f"http://{LOOPBACK}:{port}{ready.path}").status_code == 200

        every_s = _COMMAND_EVERY_S if ready.command else _EVERY_S
        wait(answers, what=f"{component.name} ready", deadline=deadline, child=held, fail=fail, every_s=every_s)


class RecipeReady(WaitStrategy):
    """The recipe's readiness as a wait strategy of testcontainers; `wait_ready` with `timeout_s` seconds."""

    def __init__(self, component: Component, timeout_s: float) -> None:
        super().__init__()
        self._component = component
        self._startup_timeout = timeout_s

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        held = Started(self._component.name, container.get_wrapped_container())

        def port_of(name: str) -> int | None:
            try:
                return int(container.get_exposed_port(self._component.inside[name]))
            except (TimeoutError, ConnectionError):  # it has ended, as `wait` is about to see
                return None

        wait_ready(self._component, held, port_of, Deadline.after(self._startup_timeout))


class Started:
    """Docker's own container, held by nobody else."""

    def __init__(self, name: str, container: Container) -> None:
        self.name = name
        self._container = container

    def poll(self) -> int | None:
        with in_a_line(self.name):
            self._container.reload()
        state = self._container.attrs["State"]
        return int(state["ExitCode"]) if state["Status"] in ("exited", "dead") else None

    def tail(self, lines: int = 20) -> str:
        with in_a_line(self.name):
            text: str = self._container.logs(tail=lines).decode(errors="replace")
        return text.rstrip()

    def execute(self, argv: list[str]) -> tuple[int, str]:
        with in_a_line(self.name):
            done = self._container.exec_run(argv)
        return int(done.exit_code), done.output.decode(errors="replace")


def _succeeds(held: Held, command: list[str]) -> bool:
    try:
        return held.execute(command)[0] == 0
    except PlatformError:  # it has ended, as `wait` is about to see
        return False
