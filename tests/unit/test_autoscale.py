"""The autoscaler's thread: what goes wrong in one step is told, and the next step is made all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.backends.embedded.autoscale import Autoscaler
from harness.backends.embedded.scaled import Scaled, ScaledReplica
from harness.backends.node import NodeOptions
from harness.clients.envoy import Traffic
from harness.components.activator import ActivatorServer
from harness.errors import PlatformError
from harness.lifecycle.autoscaler import DOWN, AutoscalerSpec, Rules, Target, TargetKind
from harness.runtime.clock import Deadline, VirtualClock
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
    autoscaler = Autoscaler(controller, None, ActivatorServer(), NodeOptions(), events)  # type: ignore[arg-type]
    autoscaler.begin()
    try:
        wait(lambda: controller.asked > 1, what="another step", deadline=Deadline.after(5))
    finally:
        autoscaler.close()
        events.close()
    assert [(event.kind, event.message) for event in told] == [("autoscaler.error", words)]


PER_REPLICA = 10
SPEC = AutoscalerSpec(
    1, 100, (Target("concurrency", PER_REPLICA, TargetKind.EXTERNAL_AVERAGE),), down=Rules(10, DOWN.policies), sync_s=1
)


class World:
    """A revision whose replicas are ready at once, and a gateway that tells the requests in flight, or nothing."""

    def __init__(self, clock: VirtualClock, events: EventLog) -> None:
        self.clock, self.size, self.flying, self.silent = clock, 1, 0, False
        world: Any = self
        options = NodeOptions(window_s=1)
        self.autoscaler = Autoscaler(world, world, ActivatorServer(), options, events, clock=clock)

    def scaled(self, options: NodeOptions) -> list[Scaled]:
        replicas = tuple(ScaledReplica(number, 0.0, 0.0, None, "") for number in range(self.size))
        return [Scaled("ns", "m", "m-v1", "m.example.com", SPEC, self.size, replicas, ())]

    def traffic(self) -> dict[str, Traffic]:
        if self.silent:
            raise httpx.ConnectError("refused")
        (revision,) = self.scaled(NodeOptions())
        return {revision.cluster: Traffic(self.flying, 0)}

    def scale(self, *key: Any) -> None:
        self.size = key[3]

    def run(self, seconds: float) -> None:
        """Steps of a quarter of a second, as the thread makes them."""
        for _ in range(int(seconds * 4)):
            self.autoscaler.step()
            self.clock.sleep(0.25)

    def lose(self, seconds: float) -> None:
        """So long the gateway says nothing."""
        self.silent = True
        self.run(seconds)
        self.silent = False


@contextmanager
def world(tmp_path: Path) -> Iterator[World]:
    events = EventLog(tmp_path / "events.jsonl")
    try:
        yield World(VirtualClock(), events)
    finally:
        events.close()


@pytest.mark.parametrize("silent_s", [0.25, 3.0])
def test_a_lost_reading_does_not_forget_what_was_recommended(tmp_path: Path, silent_s: float) -> None:
    """The window of ten seconds goes on: it neither ends with the loss nor begins again."""
    with world(tmp_path) as scaled:
        scaled.flying = 3 * PER_REPLICA
        scaled.run(3)
        assert scaled.size == 3
        scaled.flying = PER_REPLICA
        scaled.run(4)
        scaled.lose(silent_s)
        scaled.run(9 - 4 - silent_s)
        assert scaled.size == 3
        scaled.run(3)
        assert scaled.size == 1


def test_a_lost_reading_does_not_forget_how_many_replicas_were_just_added(tmp_path: Path) -> None:
    """At most four, or the double, in 15 s: a loss in between gives no second four."""
    with world(tmp_path) as scaled:
        scaled.flying = 50 * PER_REPLICA
        scaled.run(2)
        assert scaled.size == 5
        scaled.lose(0.25)
        scaled.run(8)
        assert scaled.size == 5


def test_while_the_gateway_says_nothing_the_count_stays(tmp_path: Path) -> None:
    with world(tmp_path) as scaled:
        scaled.flying = 3 * PER_REPLICA
        scaled.run(3)
        scaled.lose(60)
        assert scaled.size == 3
