"""A service on a virtual clock, and a rollout on it, for the tests of policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from harness.errors import ServiceFailed
from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import drive
from harness.lifecycle.rollout import By, Canary, Policy
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts
from harness.report.record import RevisionCounts, RolloutRecord
from harness.runtime.clock import Deadline, VirtualClock

Behaviour = tuple[float, float]  # shares of failed and of slow requests
GOOD = (0.0, 0.002)


@dataclass
class Simulated:
    """A service on a virtual clock: `rps` requests a second, split by the weight, each revision with its behaviour.

    `at_percent` overrides behaviours while the canary has that weight; `splits` are weights that the gateway gets
    wrong. Latencies are counted every `flush_s` seconds only, as the gateway does it.
    """

    clock: VirtualClock
    rps: float = 200.0
    behaviour: dict[str, Behaviour] = field(default_factory=lambda: {"v1": GOOD, "v2": GOOD})
    at_percent: dict[int, dict[str, Behaviour]] = field(default_factory=dict)
    splits: dict[int, float] = field(default_factory=dict)
    flush_s: float = 0.25
    start_error: str = ""
    late_s: float | None = None
    distrust: str = ""
    positive: dict[str, float] = field(default_factory=dict)  # shares of predictions above 0.5
    agreement: float = 1.0
    counters: Callable[[], None] = lambda: None
    service: str = "model"
    baseline: str = "v1"
    canary: str = "v2"

    def __post_init__(self) -> None:
        self.random, self.percent, self.copied, self.last, self.calls = Random(7), 0, 0, 0.0, list[str]()
        self.predictions = Answers((0.5,), (0,), (0,)) if self.positive else None
        self.totals = {"v1": Counts(5000, 40, 900, timed=5000), "v2": Counts()}  # v1 had a past
        self.flushed, self.flushes = dict(self.totals), 0

    def start_canary(self) -> None:
        self.calls.append("start")
        if self.start_error:
            raise ServiceFailed(self.start_error)

    def set_weight(self, percent: int) -> None:
        self._serve()
        self.percent, self.copied = percent, 0
        self.calls.append(f"weight {percent}")

    def assign(self, percent: int, by: By) -> None:
        self._serve()
        self.percent = percent
        self.calls.append(f"assign {percent} by {by}")

    def mirror(self, percent: int) -> None:
        self._serve()
        self.percent, self.copied = 0, percent
        self.calls.append(f"mirror {percent}")

    def promote(self) -> None:
        self.calls.append("promote")

    def roll_back(self) -> None:
        self.percent = self.copied = 0
        self.calls.append("roll back")

    def read_at(self) -> float | None:
        return None if self.late_s is None else self.clock.now() - self.late_s

    def answers(self) -> Answers | None:
        return self.predictions

    def withheld(self) -> str:
        return self.distrust

    def counts(self) -> list[RevisionCounts]:
        self.counters()
        self._serve()
        return [
            RevisionCounts(
                revision=name,
                requests=total.requests,
                failed=total.failed,
                slow=self.flushed[name].slow,
                timed=self.flushed[name].timed,
            )
            for name, total in self.totals.items()
            if total.requests
        ]

    def _serve(self) -> None:
        behaviour = {**self.behaviour, **self.at_percent.get(self.percent, {})}
        for _ in range(int((self.clock.now() - self.last) * self.rps)):
            self.last += 1 / self.rps
            name = "v2" if self.random.random() * 100 < self.splits.get(self.percent, self.percent) else "v1"
            self._answer(name, behaviour[name])
            if self.random.random() * 100 < self.copied:
                self._answer("v2", behaviour["v2"], copy=True)
            if self.last >= (self.flushes + 1) * self.flush_s:
                self.flushed, self.flushes = dict(self.totals), int(self.last / self.flush_s)

    def _answer(self, name: str, behaviour: Behaviour, *, copy: bool = False) -> None:
        failing, slow = behaviour
        self.totals[name] += Counts(1, int(self.random.random() < failing), int(self.random.random() < slow), 1)
        if self.predictions is None:
            return
        below = int(self.random.random() >= self.positive[name])
        agreed = int(copy and self.random.random() < self.agreement)
        seen = self.predictions
        mine, yours = (int(name == which) for which in ("v1", "v2"))
        self.predictions = Answers(
            seen.cuts,
            (seen.baseline_below[0] + below * mine,),
            (seen.canary_below[0] + below * yours,),
            seen.baseline + mine,
            seen.canary + yours,
            seen.compared + int(copy),
            seen.agreed + agreed,
        )


def rehearse(serving: Simulated, policy: Policy | None = None, within_s: float = 600, **kw: Any) -> RolloutRecord:
    policy = policy or Canary(SLO(errors=0.02))
    deadline = Deadline.after(within_s, serving.clock)
    return drive(policy, serving, serving.clock, deadline, lambda *event: None, unix=lambda: 1e9, **kw)
