"""A canary rollout as a pure state machine: `step(state, observation, now) -> (state, actions)`.

Actions are data; harness.lifecycle.driver carries them out on a service and a clock.

Exposure rule: the next weight w exposes a share w of the users, who meet w * p bad answers because of the canary. So
to move to w the evidence must show p < bound / w, and the final promotion p < bound. Evidence adds up over the steps:
early steps are short. The final promotion also needs the evidence of the last step alone: a good past does not promote
a canary that breaks at full weight. Each step also needs fresh canary requests of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from harness.errors import ConfigError
from harness.lifecycle.slo import SLO, is_number
from harness.lifecycle.verdict import STANDARD, ZERO, Counts, Pair, Standard, Verdict, check_split, judge
from harness.report.record import RevisionCounts, RolloutStep


class Outcome(StrEnum):
    """How a rollout ended; only PROMOTED leaves the canary with traffic."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True)
class Canary:
    """The policy: weights in percent, the SLO, and how long one weight lasts.

    A step lasts at least `min_step_s` and `min_step_requests` canary requests; a step without a verdict after
    `max_step_s` ends the rollout with NOT_ENOUGH_EVIDENCE and the baseline serving.
    """

    slo: SLO = field(default_factory=SLO)
    steps: tuple[int, ...] = (10, 50, 100)
    max_step_s: float = 60.0
    min_step_s: float = 1.0
    min_step_requests: int = 20
    standard: Standard = STANDARD

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _checked_steps(self.steps))
        for name, least in (("max_step_s", 0.0), ("min_step_s", 0.0), ("min_step_requests", 1)):
            value = getattr(self, name)
            if not is_number(value) or value < least:
                raise ConfigError(f"canary.{name}: expected a number of at least {least:g}, got {value!r}")
        if self.min_step_s > self.max_step_s:
            raise ConfigError(
                f"canary.min_step_s: expected at most max_step_s ({self.max_step_s:g}), got {self.min_step_s:g}"
            )


@dataclass(frozen=True)
class SetWeight:
    """Route this percentage of the traffic to the canary."""

    percent: int


@dataclass(frozen=True)
class Promote:
    """Make the canary the one serving revision."""


@dataclass(frozen=True)
class RollBack:
    """Give all traffic to the baseline and retire the canary."""

    reason: str


Action = SetWeight | Promote | RollBack


class Phase(StrEnum):
    STARTING = "starting"  # the canary is not ready yet
    SHIFTING = "shifting"  # a weight was asked for; the next observation opens its step
    WATCHING = "watching"  # a step is open
    PROMOTING = "promoting"  # promotion was asked for; the next observation confirms it
    DONE = "done"


@dataclass(frozen=True)
class Observation:
    """What was seen at one moment: counters since the revisions started (None: not to be had), and a failure if any."""

    canary: Counts | None = None
    baseline: Counts | None = None
    ready: bool = True
    failure: str = ""


@dataclass(frozen=True)
class Counter:
    """A growing total over a raw counter that may start again at zero when its process restarts."""

    raw: Counts = ZERO
    total: Counts = ZERO

    def advanced(self, raw: Counts | None) -> Counter:
        if raw is None:
            return self
        restarted = raw.requests < self.raw.requests
        return Counter(raw, self.total + (raw if restarted else raw - self.raw))


@dataclass(frozen=True)
class State:
    """All that a rollout knows; a rollout goes on from any of its states."""

    policy: Canary
    started_at: float  # seconds on the clock that gives `now` to step
    names: tuple[str, str] = ("baseline", "canary")
    phase: Phase = Phase.STARTING
    index: int = 0
    step_started_at: float = 0.0
    canary: Counter = field(default_factory=Counter)
    baseline: Counter = field(default_factory=Counter)
    marks: tuple[Pair, ...] = ()  # canary and baseline totals when each step opened
    steps: tuple[RolloutStep, ...] = ()
    splits: tuple[dict[str, Any], ...] = ()
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def percent(self) -> int:
        """The weight of the step that is open or asked for."""
        return self.policy.steps[self.index]

    @property
    def pairs(self) -> list[Pair]:
        """The canary's and the baseline's counts of each step so far, from its opening to the next one's."""
        marks = (*self.marks, (self.canary.total, self.baseline.total))
        return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the counts so far, for moving on from the step that is open."""
        policy = self.policy
        last = self.index + 1 == len(policy.steps)
        return judge(
            self.pairs,
            policy.slo,
            exposure=1.0 if last else policy.steps[self.index + 1] / 100,
            final=last,
            windows=len(policy.steps),
            standard=policy.standard,
        )


def step(state: State, seen: Observation, now: float) -> tuple[State, tuple[Action, ...]]:
    """The next state and what to do, from one observation at `now` seconds; pure."""
    if state.phase is Phase.DONE:
        return state, ()
    state = replace(state, canary=state.canary.advanced(seen.canary), baseline=state.baseline.advanced(seen.baseline))
    if seen.failure:
        return _end(state, Outcome.ROLLED_BACK, seen.failure, now)
    if state.phase is Phase.STARTING:
        return _starting(state, seen, now)
    if state.phase is Phase.SHIFTING:
        return _shifting(state, seen, now)
    if state.phase is Phase.PROMOTING:
        return replace(state, phase=Phase.DONE, outcome=Outcome.PROMOTED), ()
    return _watching(state, now)


def pending(state: State) -> tuple[Action, ...]:
    """What may not have happened yet when a rollout goes on from `state`; doing it twice does no harm."""
    if state.phase is Phase.PROMOTING:
        return (Promote(),)
    return (SetWeight(state.percent),) if state.phase in (Phase.SHIFTING, Phase.WATCHING) else ()


def expired(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    """End a rollout whose time is over: the baseline serves, and the reason says what was missing."""
    missing = f"; {state.verdict.reason}" if state.phase is Phase.WATCHING else ""
    where = "before the canary was ready" if state.phase is Phase.STARTING else f"at {state.percent} %"
    return _end(state, Outcome.NOT_ENOUGH_EVIDENCE, f"the time was over {where}{missing}", now)


def _starting(state: State, seen: Observation, now: float) -> tuple[State, tuple[Action, ...]]:
    if seen.ready:
        return replace(state, phase=Phase.SHIFTING, step_started_at=now), (SetWeight(state.percent),)
    if now - state.started_at >= state.policy.max_step_s:
        reason = f"the canary was not ready within {state.policy.max_step_s:g} s"
        return _end(state, Outcome.ROLLED_BACK, reason, now)
    return state, ()


def _shifting(state: State, seen: Observation, now: float) -> tuple[State, tuple[Action, ...]]:
    # Without a first reading, requests from before this step would count as evidence of it.
    if seen.canary is not None and seen.baseline is not None:
        mark = (state.canary.total, state.baseline.total)
        return replace(state, phase=Phase.WATCHING, step_started_at=now, marks=(*state.marks, mark)), ()
    if now - state.step_started_at < state.policy.max_step_s:
        return state, ()
    reason = f"no counters within {state.policy.max_step_s:g} s at {state.percent} %"
    return _end(state, Outcome.NOT_ENOUGH_EVIDENCE, reason, now)


def _watching(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    policy, verdict, lasted = state.policy, state.verdict, now - state.step_started_at
    fresh = state.canary.total.requests - state.marks[-1][0].requests
    if verdict.decision == "roll back":
        return _end(state, Outcome.ROLLED_BACK, verdict.reason, now, verdict)
    enough = lasted >= policy.min_step_s and fresh >= policy.min_step_requests
    if verdict.decision == "promote" and enough:
        return _advance(_close_step(state, "promote", verdict.reason, verdict, now), verdict.reason, now)
    if lasted < policy.max_step_s:
        return state, ()
    missing = verdict.reason
    if verdict.decision == "promote":
        missing = f"{fresh} canary requests in this step, {policy.min_step_requests - fresh} more are needed"
    reason = f"no verdict within {policy.max_step_s:g} s at {state.percent} %: {missing}"
    return _end(state, Outcome.NOT_ENOUGH_EVIDENCE, reason, now, verdict)


def _advance(state: State, reason: str, now: float) -> tuple[State, tuple[Action, ...]]:
    if state.index + 1 == len(state.policy.steps):
        return replace(state, phase=Phase.PROMOTING, reason=reason), (Promote(),)
    state = replace(state, phase=Phase.SHIFTING, index=state.index + 1, step_started_at=now)
    return state, (SetWeight(state.percent),)


def _end(
    state: State, outcome: Outcome, reason: str, now: float, verdict: Verdict | None = None
) -> tuple[State, tuple[Action, ...]]:
    if state.phase is Phase.WATCHING:
        decision = "roll back" if outcome is Outcome.ROLLED_BACK else "not enough evidence"
        state = _close_step(state, decision, reason, verdict or state.verdict, now)
    return replace(state, phase=Phase.DONE, outcome=outcome, reason=reason), (RollBack(reason),)


def _close_step(state: State, decision: str, reason: str, verdict: Verdict, now: float) -> State:
    canary, baseline = state.pairs[-1]
    closed = RolloutStep(
        percent=state.percent,
        started_at=state.step_started_at,
        duration_s=now - state.step_started_at,
        decision=decision,
        reason=reason,
        guards=list(verdict.guards),
        counts=[_revision(state.names[0], baseline), _revision(state.names[1], canary)],
    )
    splits = (*state.splits, *_split(state.percent, canary, baseline))
    return replace(state, steps=(*state.steps, closed), splits=splits)


def _split(percent: int, canary: Counts, baseline: Counts) -> tuple[dict[str, Any], ...]:
    if percent == 100:
        return ()
    # By what each was given: of answered requests, a canary that is slow to answer would seem to have had too few.
    given, others = (max(counts.routed, counts.requests) for counts in (canary, baseline))
    found = check_split(given + others, given, percent / 100)
    return ({"percent": percent, "canary": given, **found.__dict__},)


def _revision(name: str, counts: Counts) -> RevisionCounts:
    return RevisionCounts(
        revision=name,
        requests=counts.requests,
        failed=counts.failed,
        slow=counts.slow,
        timed=counts.timed,
        routed=counts.routed,
    )


def _checked_steps(steps: Sequence[int]) -> tuple[int, ...]:
    rule = "expected whole percentages that grow and end with 100, such as 10, 50, 100"
    if not isinstance(steps, tuple | list):
        raise ConfigError(f"canary.steps: {rule}, got {steps!r}")
    whole = all(isinstance(weight, int) and not isinstance(weight, bool) and 0 < weight <= 100 for weight in steps)
    if not (whole and steps and steps[-1] == 100 and list(steps) == sorted(set(steps))):
        raise ConfigError(f"canary.steps: {rule}, got {', '.join(map(str, steps)) or 'nothing'}")
    return tuple(steps)
