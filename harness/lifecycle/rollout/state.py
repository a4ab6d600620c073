"""What a rollout sees and knows: Observation and State, which survives its process as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.lifecycle.answers import Answers
from harness.lifecycle.rollout.policy import ABTest, BlueGreen, Canary, Shadow, Stage
from harness.lifecycle.verdict import ZERO, Counts, Pair, Verdict
from harness.report import record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_POINTS = 400
"""A record holds this many looks, each with a point for every guard; beyond it every second one is dropped."""


class Outcome(StrEnum):
    """How a rollout ended; only PROMOTED leaves the canary with traffic."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"
    CLEARED = "cleared"  # a shadow or an A/B test has its answer; the baseline serves on


class Phase(StrEnum):
    """Where a rollout is; each policy uses those that it needs."""

    STARTING = "starting"  # the canary is not ready yet
    SHIFTING = "shifting"  # a way of routing was asked for; the next reading opens its step
    WATCHING = "watching"  # a step is open
    PAUSED = "paused"  # the step is proven, and goes on for its pause
    GATED = "gated"  # the step is proven, and a person is asked
    DRAINING = "draining"  # green is proven; blue ends its last requests
    PROMOTING = "promoting"  # promotion was asked for; the next observation confirms it
    ROLLING_BACK = "rolling back"  # a roll back was asked for; the next observation confirms it
    DONE = "done"


OPEN = (Phase.WATCHING, Phase.PAUSED, Phase.GATED, Phase.DRAINING)
"""The phases in which a step is open: its counts are judged."""


@dataclass(frozen=True)
class Approval:
    """What a person said to the manual gate after this weight."""

    percent: int
    approved: bool
    by: str = ""


@dataclass(frozen=True)
class Observation:
    """What was seen at one moment: counters since the revisions started (None: not to be had), and a failure if any.

    `at` is when the reading was taken, on the clock of the rollout (None: just now); `answers` are totals since the
    rollout started; `withheld` says why latencies cannot be trusted, if so.
    """

    canary: Counts | None = None
    baseline: Counts | None = None
    ready: bool = True
    failure: str = ""
    at: float | None = None
    answers: Answers | None = None
    approval: Approval | None = None
    withheld: str = ""

    def fresh(self, now: float, max_age_s: float) -> bool:
        """Whether both revisions were read, and lately."""
        read = self.canary is not None and self.baseline is not None
        return read and (self.at is None or now - self.at <= max_age_s)


@dataclass(frozen=True)
class Counter:
    """A growing total over a raw counter that may start again at zero when its process restarts."""

    raw: Counts = ZERO
    total: Counts = ZERO

    def advanced(self, raw: Counts | None) -> Counter:
        """The counter after one more reading."""
        # A revision may be missing from a reading; taken for a restart, all that it had would be counted again.
        if raw is None or not raw.requests:
            return self
        restarted = raw.requests < self.raw.requests
        return Counter(raw, self.total + (raw if restarted else raw - self.raw))


@dataclass(frozen=True)
class State:
    """All that a rollout knows; a rollout goes on from any of its states. Times are seconds on the clock of `now`."""

    policy: Annotated[Canary | ABTest | BlueGreen | Shadow, Field(discriminator="kind")]
    started_at: float
    names: tuple[str, str] = ("baseline", "canary")
    phase: Phase = Phase.STARTING
    phase_at: float = 0.0  # when the phase began
    index: int = 0
    step_started_at: float = 0.0
    canary: Counter = field(default_factory=Counter)
    baseline: Counter = field(default_factory=Counter)
    moved_at: tuple[float, float] = (0.0, 0.0)  # when the canary's and the baseline's requests last grew
    marks: tuple[Pair, ...] = ()  # canary and baseline totals when each step opened
    answers: Answers | None = None
    answer_mark: Answers = field(default_factory=Answers)  # the totals when the open step's count began
    past_answers: tuple[Answers, ...] = ()  # what was counted in each step before
    answered_at: float = 0.0  # when the canary's answers last grew
    withheld: str = ""
    judged: Verdict | None = None  # the last verdict
    first_bad_at: float | None = None  # the first look at a failed or slow request of the canary
    decided_at: float = 0.0  # when the rollout was ended, or promoted
    evidence: tuple[record.EvidencePoint, ...] = ()
    steps: tuple[record.RolloutStep, ...] = ()
    splits: tuple[dict[str, Any], ...] = ()
    approvals: tuple[record.Approval, ...] = ()
    effects: tuple[record.Effect, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""
    resumed: int = 0

    @property
    def stage(self) -> Stage:
        """What is tried now, or asked for."""
        return self.policy.stages[self.index]

    @property
    def percent(self) -> int:
        """The share of the users that the canary is meant to have now."""
        return self.stage.percent

    @property
    def pairs(self) -> list[Pair]:
        """The canary's and the baseline's counts of each step so far, from its opening to the next one's."""
        marks = (*self.marks, (self.canary.total, self.baseline.total))
        return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)]

    @property
    def step_answers(self) -> list[Answers]:
        """Both revisions' answers in each step so far."""
        if not self.marks:
            return []
        return [*self.past_answers, (self.answers or Answers()).since(self.answer_mark)]

    def opened(self, now: float) -> State:
        """The state at the beginning of a step: its counts start from here."""
        return self.entered(
            Phase.WATCHING,
            now,
            step_started_at=now,
            marks=(*self.marks, (self.canary.total, self.baseline.total)),
            answer_mark=self.answers or Answers(),
            past_answers=tuple(self.step_answers),
            judged=None,
        )

    def entered(self, phase: Phase, now: float, **changes: Any) -> State:
        """The state at the beginning of a phase."""
        return replace(self, phase=phase, phase_at=now, **changes)

    def absorbed(self, seen: Observation, now: float) -> State:
        """The state with a reading counted; one that is missing or too old changes nothing."""
        if not seen.fresh(now, self.policy.max_age_s):
            return self
        canary, baseline = self.canary.advanced(seen.canary), self.baseline.advanced(seen.baseline)
        moved_at = (
            now if canary.total.requests > self.canary.total.requests else self.moved_at[0],
            now if baseline.total.requests > self.baseline.total.requests else self.moved_at[1],
        )
        bad = canary.total.failed + canary.total.slow > self.canary.total.failed + self.canary.total.slow
        first_bad_at = now if bad and self.marks and self.first_bad_at is None else self.first_bad_at
        answers, before = seen.answers or self.answers, self.answers or Answers()
        # Another count has cuts of its own: what was counted with others, in the open step, cannot be added to it.
        anew = answers is not None and answers.restarted(before)
        answered = answers is not None and answers.canary > (0 if anew else before.canary)
        return replace(
            self,
            canary=canary,
            baseline=baseline,
            moved_at=moved_at,
            first_bad_at=first_bad_at,
            answers=answers,
            answer_mark=Answers() if anew else self.answer_mark,
            answered_at=now if answered else self.answered_at,
            withheld=seen.withheld,
        )

    def noted(self, verdict: Verdict, now: float) -> State:
        """The state with a verdict, and with its evidence if that says something new."""
        if self.judged is not None and self.judged.guards == verdict.guards:
            return replace(self, judged=verdict)
        points = tuple(
            record.EvidencePoint(
                t_s=now - self.started_at,
                percent=self.percent,
                guard=guard.guard,
                good=guard.evidence_good,
                bad=guard.evidence_bad,
            )
            for guard in verdict.guards
        )
        return replace(self, judged=verdict, evidence=thinned(self.evidence + points, MOST_POINTS))

    def to_json(self) -> str:
        """The state as JSON; `State.from_json` of it is an equal state."""
        return _adapter().dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> State:
        """The state that was written; raises pydantic's ValidationError for what is none."""
        return _adapter().validate_json(text)


def thinned(points: tuple[record.EvidencePoint, ...], looks: int) -> tuple[record.EvidencePoint, ...]:
    """The points without every second look, the last look kept, if there are more looks than `looks`."""
    guards = {point.guard for point in points[-8:]}
    if len(points) <= looks * len(guards):
        return points
    times = sorted({point.t_s for point in points}, reverse=True)
    kept = set(times[::2])
    return tuple(point for point in points if point.t_s in kept)


@cache
def _adapter() -> TypeAdapter[State]:
    from pydantic import TypeAdapter

    return TypeAdapter(State)
