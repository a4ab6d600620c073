"""A component that died is started again, or it is told why not: nothing is lost with the thread that tries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.backends.embedded.starter import Running, Starter
from harness.components.component import Component, Ready, Restart
from harness.errors import PlatformError
from harness.runtime.events import Event, EventLog

ENVOY = Component("envoy", "1", ("envoy",), Ready("http"), restart=Restart(at_most=2))


class Dies:
    """A child that has ended, and a supervisor that says so at once."""

    closed = False
    cause = ""
    pid = 7

    def on_death(self, child: object, died: Callable[[int], None]) -> None:
        died(-9)

    def stop(self, child: object) -> None:
        """Nothing is left of it."""


class Refuses:
    """A launcher that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def launch(self, *_: object) -> Any:
        self.asked += 1
        raise self.error


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[EventLog, list[Event], threading.Event]]:
    """A run's events, those so far, and whether a component was given up."""
    events, failed = [], threading.Event()

    def listen(event: Event) -> None:
        events.append(event)
        if event.kind == "component.failed":
            failed.set()

    with closing(EventLog(tmp_path / "events.jsonl")) as log:
        log.listen(listen)
        yield log, events, failed


def died_and_tried(log: EventLog, error: Exception, folder: Path) -> tuple[Running, Refuses]:
    dies: Any = Dies()
    launcher = Refuses(error)
    running = Running(ENVOY, folder, {"http": 1}, dies, 0.1)
    return Starter(dies, log, folder, launcher).hold(running), launcher


def test_what_nobody_foresaw_in_a_restart_is_told_and_ends_the_component(
    told: tuple[EventLog, list[Event], threading.Event], tmp_path: Path
) -> None:
    """A run that waits for it ends at once with the reason, and not at its deadline without one."""
    log, events, failed = told
    running, launcher = died_and_tried(log, OSError(28, "No space left on device"), tmp_path)
    assert failed.wait(10)
    assert launcher.asked == 1
    words = "envoy was killed by signal 9; it cannot be started again: OSError: [Errno 28] No space left on device"
    assert [(event.level, event.message) for event in events if event.kind == "component.failed"] == [("error", words)]
    assert running.failed == words


def test_what_a_component_refuses_is_tried_again_as_its_recipe_says(
    told: tuple[EventLog, list[Event], threading.Event], tmp_path: Path
) -> None:
    log, events, failed = told
    _, launcher = died_and_tried(log, PlatformError("envoy: not within the deadline"), tmp_path)
    assert failed.wait(10)
    assert launcher.asked == 2
    assert [event.kind for event in events][1:] == ["component.restart_failed"] * 2 + ["component.failed"]
