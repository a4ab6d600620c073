"""A fault counts only once it was carried out: a case in which nothing happened has rehearsed nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.chaos.faults import fault_named
from harness.chaos.inject import Injection, Target
from harness.chaos.readings import FaultyReadings
from harness.errors import UsageError
from harness.lifecycle.rollout import Canary, Phase, State
from harness.runtime.events import EventLog


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


def test_a_fault_that_could_not_act_was_not_carried_out(target: Target) -> None:
    """There is no process of the rollout's own that could be killed."""
    killed = Injection(fault_named("controller-killed"), Phase.WATCHING, target)
    with pytest.raises(UsageError):
        killed(in_phase(Phase.WATCHING))
    assert not killed.done
