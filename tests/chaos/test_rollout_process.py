"""A rollout in a process of its own is killed by -9 in any phase, before or after its action, and goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest

from harness.chaos.rollout_process import PortServer, RolloutProcess, Served
from harness.errors import PlatformError, StepFailed
from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import drive
from harness.lifecycle.rollout import By, Canary, Outcome, Phase, State
from harness.lifecycle.slo import SLO
from harness.report.record import RevisionCounts, RolloutRecord
from harness.runtime.clock import WALL, Deadline
from harness.runtime.events import EventLog
from harness.runtime.nursery import Nursery
from harness.runtime.supervisor import Supervisor

POLICY = Canary(SLO(errors=0.05, slow=0.2), steps=(50, 100), min_step_s=0.0, max_step_s=5.0)
RPS = 4000


@dataclass
class Service:
    """A ServingPort whose traffic follows the machine's clock; `failing` is the canary's share of failures."""

    failing: float = 0.0
    service: str = "production/model"
    baseline: str = "v1"
    canary: str = "v2"
    percent: int = 0
    calls: list[str] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=lambda: {"v1": 0.0, "v2": 0.0})
    last: float = field(default_factory=WALL.now)

    def start_canary(self) -> None:
        self.calls.append("start")

    def set_weight(self, percent: int) -> None:
        self.counts()
        self.percent = percent
        self.calls.append(f"weight {percent}")

    def assign(self, percent: int, by: By) -> None:
        raise NotImplementedError

    def mirror(self, percent: int) -> None:
        raise NotImplementedError

    def promote(self) -> None:
        self.calls.append("promote")

    def roll_back(self) -> None:
        self.counts()
        self.percent = 0
        self.calls.append("roll back")

    def counts(self) -> list[RevisionCounts]:
        now = WALL.now()
        requests, self.last = (now - self.last) * RPS, now
        self.totals["v2"] += requests * self.percent / 100
        self.totals["v1"] += requests * (1 - self.percent / 100)
        return [self._of("v1", 0.0), self._of("v2", self.failing)]

    def read_at(self) -> float | None:
        return None

    def answers(self) -> Answers | None:
        return None

    def withheld(self) -> str:
        return ""

    def _of(self, name: str, failing: float) -> RevisionCounts:
        count = int(self.totals[name])
        failed = int(count * failing)
        return RevisionCounts(revision=name, requests=count, failed=failed, slow=0, timed=count, routed=count)


@dataclass
class World:
    """What a rollout's process is forked from."""

    supervisor: Supervisor
    nursery: Nursery
    folder: Path

    def process(self, name: str) -> RolloutProcess:
        return RolloutProcess(self.supervisor, lambda: self.nursery, self.folder / name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("rollouts")
    log = EventLog(folder / "events.jsonl")
    with Supervisor(folder, log) as supervisor:
        yield World(supervisor, supervisor.nursery("nursery", ["harness.chaos.rollout_process"]), folder)
    log.close()


def run(
    process: RolloutProcess, service: Service, kill_at: Phase | None = None, *, done: bool = False
) -> RolloutRecord:
    armed = [kill_at]

    def kill() -> None:
        process.after_action = lambda: None
        process.kill()

    def on_state(state: State) -> None:
        if state.phase is armed[0]:
            armed[0] = None
            if done:
                process.after_action = kill
            else:
                process.kill()

    return process.drive(POLICY, service, WALL, Deadline.after(60), lambda *event: None, on_state=on_state)


def test_it_ends_as_a_rollout_in_this_process_does(world: World) -> None:
    """The same actions, outcome and steps; nothing was resumed."""
    here, there = Service(), Service()
    expected = drive(POLICY, here, WALL, Deadline.after(60), lambda *event: None)
    record = run(world.process("plain"), there)
    assert (record.outcome, record.resumed) == (Outcome.PROMOTED, 0)
    assert there.calls == here.calls
    assert [step.percent for step in record.steps] == [step.percent for step in expected.steps]


@pytest.mark.parametrize("done", [False, True], ids=["asked", "done"])
@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.SHIFTING, Phase.PROMOTING])
def test_killed_on_its_way_to_promotion_it_goes_on_and_promotes(world: World, phase: Phase, done: bool) -> None:
    """The record says that it was resumed; an action may be done twice, none is left out."""
    process, service = world.process(f"{phase.name}-{done}"), Service()
    record = run(process, service, phase, done=done)
    assert (record.outcome, record.resumed, process.deaths) == (Outcome.PROMOTED, 1, 1)
    assert list(dict.fromkeys(service.calls)) == ["start", "weight 50", "weight 100", "promote"]


def test_a_kill_waits_for_a_fork_that_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rollout's process may say that it starts before the platform's process knows which one it is."""
    fork = world.supervisor.fork

    def late(*args: Any, **kwargs: Any) -> Any:
        child = fork(*args, **kwargs)
        time.sleep(1.0)
        return child

    monkeypatch.setattr(world.supervisor, "fork", late)
    process = world.process("late")
    record = run(process, Service(), Phase.STARTING)
    assert (record.outcome, record.resumed, process.deaths) == (Outcome.PROMOTED, 1, 1)


def test_killed_in_the_middle_of_a_step_its_evidence_goes_on(world: World) -> None:
    """The step's counts are those from its opening, not from the new process's start."""
    service = Service()
    record = run(world.process("watching"), service, Phase.WATCHING)
    assert (record.outcome, record.resumed) == (Outcome.PROMOTED, 1)
    times = [point.t_s for point in record.evidence]
    assert times == sorted(times)
    seen = sum(counts.requests for step in record.steps for counts in step.counts if counts.revision == "v2")
    assert service.totals["v2"] - seen < RPS  # all but what came while it shifted and promoted


@pytest.mark.parametrize("done", [False, True], ids=["asked", "done"])
def test_killed_while_it_rolls_back_it_rolls_back(world: World, done: bool) -> None:
    """The baseline has all traffic at the end, and the cost is in the record."""
    service = Service(failing=0.5)
    record = run(world.process(f"back-{done}"), service, Phase.ROLLING_BACK, done=done)
    assert (record.outcome, record.resumed, service.percent) == (Outcome.ROLLED_BACK, 1, 0)
    assert record.rollback is not None
    assert record.rollback.harmed > 0


def test_a_rollout_that_dies_again_and_again_is_given_up(world: World) -> None:
    """With the signal that ended it, and how often; the baseline has the traffic back."""
    process, service = world.process("cursed"), Service()

    def kill(state: State) -> None:
        process.kill()

    with pytest.raises(StepFailed, match=r"was killed by signal 9, for the 6\. time"):
        process.drive(POLICY, service, WALL, Deadline.after(60), lambda *event: None, on_state=kill)
    assert service.calls[-1] == "roll back"


def test_what_the_port_refuses_is_refused_in_the_rollouts_process(world: World) -> None:
    """An error of the platform crosses the socket as what it is: here the weight cannot be set, so it goes back."""

    class Refusing(Service):
        def set_weight(self, percent: int) -> None:
            raise PlatformError("gateway: routes of production/model: Envoy refused them")

    record = run(world.process("refusing"), Refusing())
    assert record.outcome == Outcome.ROLLED_BACK
    assert "Envoy refused them" in record.reason


def test_its_end_waits_for_no_call_that_outlives_the_rollout(world: World) -> None:
    """A process that was stopped leaves its last call behind; what follows that call must not be waited for."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Service):
        def start_canary(self) -> None:
            begun.set()
            go_on.wait(10)

    served = Served(POLICY, Slow(), lambda *event: None, lambda state: None, lambda state: None, lambda: None)
    server = PortServer(served)
    server.__enter__()
    with Client(server.address.socket, "AF_UNIX", authkey=server.address.key) as rollout:
        rollout.send(("start_canary", ()))
        assert begun.wait(5)
    leaving = threading.Thread(target=server.__exit__, args=(None, None, None), daemon=True)
    leaving.start()
    leaving.join(0.2)
    go_on.set()
    leaving.join(5)
    assert not leaving.is_alive()


def test_a_second_rollout_in_the_same_folder_begins_anew(world: World) -> None:
    """What the first one left is not its state."""
    for _ in range(2):
        service = Service()
        record = run(world.process("twice"), service)
        assert (record.outcome, record.resumed, service.calls[0]) == (Outcome.PROMOTED, 0, "start")


def test_another_clock_than_the_machines_is_refused(world: World) -> None:
    """A virtual clock would stand still in the other process."""
    from harness.runtime.clock import VirtualClock

    clock: Any = VirtualClock()
    with pytest.raises(PlatformError, match="share no clock"):
        world.process("clock").drive(POLICY, Service(), clock, Deadline.after(1), lambda *event: None)
