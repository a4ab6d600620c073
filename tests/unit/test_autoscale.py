"""The autoscaler's thread: what goes wrong in one step is told, and the next step is made all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.embedded.activator import Activator
from harness.backends.embedded.autoscale import Autoscaler
from harness.backends.node import NodeOptions
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog
from harness.runtime.wait import wait


class Controller:
    """One that goes wrong the first time it is asked."""

    def __init__(self, error: Exception) -> None:
        self.asked = 0
        self._error = error

    def scaled(self, options: NodeOptions) -> list[Any]:
        self.asked += 1
        if self.asked == 1:
            raise self._error
        return []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PlatformError("the gateway took no routes"), "PlatformError: the gateway took no routes"),
        (ValueError("Expecting value: line 1"), "ValueError: Expecting value: line 1"),
        (TimeoutError(), "TimeoutError: "),
    ],
)
def test_an_error_ends_a_step_and_not_the_scaling(tmp_path: Path, error: Exception, words: str) -> None:
    events, told = EventLog(tmp_path / "events.jsonl"), list[Event]()
    events.listen(told.append)
    controller: Any = Controller(error)
    autoscaler = Autoscaler(controller, None, Activator(), NodeOptions(), events)  # type: ignore[arg-type]
    autoscaler.begin()
    try:
        wait(lambda: controller.asked > 1, what="another step", deadline=Deadline.after(5))
    finally:
        autoscaler.close()
        events.close()
    assert [(event.kind, event.message) for event in told] == [("autoscaler.error", words)]
