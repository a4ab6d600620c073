"""A fault counts only once it was carried out: a case in which nothing happened has rehearsed nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.chaos.faults import fault_named
from harness.chaos.inject import Injection, Target
from harness.chaos.readings import FaultyReadings
from harness.errors import PlatformError, UsageError
from harness.lifecycle.rollout import Canary, Phase, State
from harness.runtime.events import Event, EventLog


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """A canary of which nothing runs."""
    port: Any = SimpleNamespace(service="production/iris", baseline="v1", canary="v2")
    backend: Any = SimpleNamespace()
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        yield Target(backend, events, "production", "iris", "v2", FaultyReadings(port))


def in_phase(phase: Phase) -> State:
    return State(Canary(), 0.0, phase=phase)


def test_a_fault_is_carried_out_in_its_phase_and_ends(target: Target) -> None:
    """Not before, and not for ever."""
    stale = Injection(fault_named("metrics-stale"), Phase.WATCHING, target)
    seen = []
    for phase in (Phase.STARTING, Phase.WATCHING):
        stale(in_phase(phase))
        seen.append((stale.done, target.readings.mode))
    stale.end()
    assert [*seen, (stale.done, target.readings.mode)] == [(False, ""), (True, "stale"), (True, "")]


def test_what_cannot_be_undone_when_its_time_is_over_is_told_and_fails_the_case(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer's thread ends it, and nobody waits for that: what follows is rehearsed with the fault still there."""
    told: list[Event] = []
    target.events.listen(told.append)
    undone = threading.Event()

    def stays() -> None:
        undone.set()
        raise OSError("the replica stays cut off")

    monkeypatch.setattr(target.readings, "mend", stays)
    stale = Injection(replace(fault_named("metrics-stale"), lasts_s=0.01), Phase.WATCHING, target)
    stale(in_phase(Phase.WATCHING))
    assert undone.wait(10)
    with pytest.raises(PlatformError, match=r"^metrics-stale cannot be undone: OSError: the replica stays cut off$"):
        stale.end()
    failed = [(event.level, event.message) for event in told if event.kind == "chaos.not_undone"]
    assert failed == [("error", "metrics-stale cannot be undone: OSError: the replica stays cut off")]


def test_a_fault_that_could_not_act_was_not_carried_out(target: Target) -> None:
    """There is no process of the rollout's own that could be killed."""
    killed = Injection(fault_named("controller-killed"), Phase.WATCHING, target)
    with pytest.raises(UsageError):
        killed(in_phase(Phase.WATCHING))
    assert not killed.done
