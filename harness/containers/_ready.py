"""The recipe's readiness as a wait strategy of testcontainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from docker.errors import APIError
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from harness.clients.http import client
from harness.components.component import LOOPBACK, Component
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

_EVERY_S = 0.02


class RecipeReady(WaitStrategy):
    """Waits until a container answers as its recipe says.

    Errors: ProcessExited as soon as the container has ended, WaitTimeout after `timeout_s` seconds; both with the end
    of its log.
    """

    def __init__(self, component: Component, timeout_s: float) -> None:
        super().__init__()
        self._component = component
        self._startup_timeout = timeout_s
        self._poll_interval = _EVERY_S

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        ready = self._component.ready
        if ready.command:
            self._wait(container, lambda: _succeeds(container, ready.command))
            return
        inside, address = self._component.inside[ready.port], ""
        with client(timeout_s=5.0) as http:

            def answers() -> bool:
                nonlocal address
                address = address or _address(container, inside)
                return bool(address) and http.get(f"{address}{ready.path}").status_code == 200

            self._wait(container, answers)

    def _wait(self, container: WaitStrategyTarget, answers: Callable[[], bool]) -> None:
        name, deadline = self._component.name, Deadline.after(self._startup_timeout)
        watched = _Watched(name, container)
        wait(answers, what=f"{name} ready", deadline=deadline, child=watched, every_s=self._poll_interval)


def _address(container: WaitStrategyTarget, port: int) -> str:
    try:
        return f"http://{LOOPBACK}:{container.get_exposed_port(port)}"
    except (TimeoutError, ConnectionError):  # it has ended, as `wait` is about to see
        return ""


def _succeeds(container: WaitStrategyTarget, command: Sequence[str]) -> bool:
    try:
        return bool(container.get_wrapped_container().exec_run(list(command)).exit_code == 0)
    except APIError:  # it has ended
        return False


class _Watched:
    """A container as `wait` watches it."""

    def __init__(self, name: str, container: WaitStrategyTarget) -> None:
        self.name = name
        self._container = container.get_wrapped_container()

    def poll(self) -> int | None:
        self._container.reload()
        state = self._container.attrs["State"]
        return int(state["ExitCode"]) if state["Status"] in ("exited", "dead") else None

    def tail(self, lines: int = 20) -> str:
        text: str = self._container.logs(tail=lines).decode(errors="replace")
        return text.rstrip()
