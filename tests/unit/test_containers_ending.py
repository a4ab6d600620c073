"""The end of a containers world without Docker: one thing that goes wrong keeps nothing else from being removed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backends.containers import backend, session, sweep
from harness.backends.containers.ground import Ground
from harness.components.postgres import postgres
from harness.containers.ready import wait_ready
from harness.errors import PlatformError, ProcessExited
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner
from harness.runtime.supervisor import Supervisor


class OwnRegistry:
    """A registry that only notes that it was closed."""

    closed = False

    def __init__(self, *_: object, **__: object) -> None:
        OwnRegistry.closed = False

    def prepare(self) -> None:
        """Nothing to be started."""

    def stop(self) -> None:
        """Nothing to be stopped."""

    def close(self) -> None:
        OwnRegistry.closed = True


def failing(words: str) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise PlatformError(words)

    return fail


def test_a_runs_own_registry_is_closed_though_its_network_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or PostgreSQL and its volume would outlive the run."""
    monkeypatch.setattr(backend, "Registry", OwnRegistry)
    monkeypatch.setattr(sweep, "remove", failing("the network is in use"))
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        world = backend.ContainersBackend(tmp_path, events)
        with pytest.raises(PlatformError, match="the network is in use"):
            world.close()
    assert OwnRegistry.closed


def test_a_sessions_registry_is_closed_though_a_container_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Registry", OwnRegistry)
    monkeypatch.setattr(session, "require", lambda: None)
    close = Supervisor.close

    def close_and_fail(supervisor: Supervisor) -> None:
        close(supervisor)
        raise PlatformError("it does not stop")

    monkeypatch.setattr(Supervisor, "close", close_and_fail)
    with pytest.raises(PlatformError, match="it does not stop"), session.ContainerSession(tmp_path):
        pass
    assert OwnRegistry.closed


def test_nothing_is_made_for_a_run_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that was about to start when Ctrl-C came would leave a volume or a network."""
    monkeypatch.setattr(sweep, "remove", lambda label: [])
    ground = Ground()
    ground.close()
    with pytest.raises(PlatformError, match="the run has ended"):
        ground.volume("models")
    with pytest.raises(PlatformError, match="the run has ended"):
        _ = ground.network


def test_what_one_dead_owner_left_and_stays_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when all else is gone."""
    tried: list[str] = []
    stuck, other = (str(replace(Owner.me(), process=Identity(pid, 1))) for pid in (4194305, 4194306))

    def remove(label: str) -> list[str]:
        tried.append(label)
        if label.endswith(f"={stuck}"):
            raise PlatformError("volume x stays")
        return ["container y"]

    monkeypatch.setattr(sweep, "_owners", lambda kind: [stuck, other])
    monkeypatch.setattr(sweep, "_states", list)
    monkeypatch.setattr(sweep, "remove", remove)
    with pytest.raises(PlatformError, match="volume x stays"):
        sweep.gc()
    assert len(tried) == 2


def test_a_database_that_ends_while_it_is_asked_is_told_as_ended() -> None:
    """The engine refuses to run anything in it before its end is noticed."""

    class Ends:
        name = "postgres"

        def __init__(self) -> None:
            self.code: int | None = None

        def execute(self, argv: list[str]) -> tuple[int, str]:
            self.code = 1
            raise PlatformError("container is not running")

        def poll(self) -> int | None:
            return self.code

        def tail(self, lines: int = 20) -> str:
            return "FATAL: no room"

    with pytest.raises(ProcessExited, match="FATAL: no room"):
        wait_ready(postgres("secret"), Ends(), lambda port: None, Deadline.after(5))
