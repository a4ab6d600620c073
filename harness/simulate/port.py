"""One rollout through the driver that production uses, on a virtual clock and a simulated service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import OnEvent, drive
from harness.lifecycle.rollout import ABTest, Approval, By, Policy, State
from harness.report.record import RevisionCounts
from harness.runtime.clock import Deadline, VirtualClock
from harness.simulate.traffic import BASELINE, CANARY, FAILED, SLOW, Traffic
from harness.simulate.world import World

if TYPE_CHECKING:
    from harness.report.record import RolloutRecord

DECILES = tuple(cut / 10 for cut in range(1, 10))


@dataclass(frozen=True)
class Run:
    """One simulated rollout: its record, the canary's requests, and those of them that failed or were slow."""

    record: RolloutRecord
    canary: int
    harmed: int
    requests: int


class SimulatedPort:
    """The serving port of a simulated service; requests are drawn when the counts are asked for.

    Predictions are counted at the `cuts`; the baseline's are uniform in [0, 1].
    """

    service, baseline, canary = "simulated", "baseline", "canary"

    def __init__(
        self, world: World, clock: VirtualClock, rng: np.random.Generator, cuts: Sequence[float] = DECILES
    ) -> None:
        self.clock, self.rng, self.cuts = clock, rng, tuple(cuts)
        self.traffic = Traffic(world, 1, rng)
        self.world = world
        self.percent, self.copied, self.read = 0, 0.0, clock.now()
        self.below = np.zeros((2, len(self.cuts)), np.int64)
        self.answered = np.zeros(2, np.int64)
        self.compared = self.agreed = 0

    def start_canary(self) -> None:
        """Nothing to do: a simulated canary is ready."""

    def set_weight(self, percent: int) -> None:
        """Give the canary this percentage of the requests."""
        self._draw()
        self.percent, self.copied = percent, 0.0

    def assign(self, percent: int, by: By) -> None:
        """Give the canary the requests of this percentage of the users."""
        self.set_weight(percent)

    def mirror(self, percent: int) -> None:
        """Give the canary copies of this percentage of the baseline's requests."""
        self._draw()
        self.percent, self.copied = 0, percent / 100

    def promote(self) -> None:
        """Give the canary all requests."""
        self.set_weight(100)

    def roll_back(self) -> None:
        """Give the baseline all requests."""
        self.set_weight(0)

    def counts(self) -> list[RevisionCounts]:
        """The totals until now."""
        self._draw()
        return [self._counts(self.canary, CANARY), self._counts(self.baseline, BASELINE)]

    def read_at(self) -> float | None:
        """The counts are of now."""
        return None

    def answers(self) -> Answers | None:
        """The predictions until now."""
        baseline, canary = (tuple(row.tolist()) for row in self.below)
        answered = self.answered.tolist()
        return Answers(self.cuts, baseline, canary, answered[0], answered[1], self.compared, self.agreed)

    def withheld(self) -> str:
        """Simulated latencies are exact."""
        return ""

    def _draw(self) -> None:
        seconds = self.clock.now() - self.read
        if seconds <= 0:
            return
        before = self.traffic.requests[0]
        self.traffic.advance(self.read, seconds, np.array([self.percent]), self.copied)
        self.traffic.turn(seconds)
        self.read = self.clock.now()
        canary, baseline = self.traffic.requests[0] - before
        self._answer(int(baseline), int(canary))

    def _answer(self, baseline: int, canary: int) -> None:
        for row, (requests, shift) in enumerate(((baseline, 0.0), (canary, self.world.canary.shift))):
            edges = np.clip(np.array([0.0, *self.cuts]) - shift, 0.0, 1.0)
            shares = np.diff([*edges, 1.0])
            self.below[row] += self.rng.multinomial(requests, shares).cumsum()[:-1]
            self.answered[row] += requests
        if self.copied:
            self.compared += canary
            self.agreed += int(self.rng.binomial(canary, self.world.canary.agreement))

    def _counts(self, revision: str, arm: int) -> RevisionCounts:
        failed, slow, good = (int(number) for number in self.traffic.totals[0, arm])
        requests = failed + slow + good
        return RevisionCounts(
            revision=revision, requests=requests, failed=failed, slow=slow, timed=requests, routed=requests
        )


def run_once(
    policy: Policy,
    world: World,
    seed: int,
    *,
    every_s: float = 1.0,
    on_event: OnEvent = lambda kind, words, data: None,
) -> Run:
    """One rollout, looked at every `every_s` seconds; the same seed gives the same run, bit by bit.

    A person who is asked approves at once.
    """
    clock = VirtualClock()
    cuts = (policy.cut,) if isinstance(policy, ABTest) else DECILES
    port = SimulatedPort(world, clock, np.random.default_rng(seed), cuts)
    deadline = Deadline.after(policy.at_most_s, clock)
    record = drive(policy, port, clock, deadline, on_event, every_s=every_s, approve=_approve, unix=clock.now)
    totals = port.traffic.totals[0]
    harmed = int(totals[CANARY, FAILED] + totals[CANARY, SLOW])
    return Run(record, int(totals[CANARY].sum()), harmed, int(totals.sum()))


def _approve(state: State) -> Approval:
    return Approval(state.percent, True, "simulation")
