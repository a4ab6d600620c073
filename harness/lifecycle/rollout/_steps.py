"""What the policies share: opening and closing steps, what a step still lacks, and ending."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.lifecycle.rollout.actions import Action, Promote, RollBack
from harness.lifecycle.rollout.state import OPEN, Observation, Outcome, Phase, State
from harness.lifecycle.verdict import Counts, SplitVerdict, Verdict, check_split
from harness.report.record import RevisionCounts, RolloutStep

Next = tuple[State, tuple[Action, ...]]


def end(state: State, outcome: Outcome, reason: str, now: float) -> Next:
    """Give the traffic back to the baseline; the rollout is over once that is confirmed."""
    if state.phase in OPEN:
        decision = {Outcome.ROLLED_BACK: "roll back", Outcome.CLEARED: "cleared"}.get(outcome, "not enough evidence")
        state = close_step(state, decision, reason, now)
    return state.entered(Phase.ROLLING_BACK, now, decided_at=now, outcome=outcome, reason=reason), (RollBack(reason),)


def promote(state: State, reason: str, now: float) -> Next:
    """Close the step as proven, and make the canary the baseline."""
    state = close_step(state, "promote", reason, now)
    return state.entered(Phase.PROMOTING, now, decided_at=now, reason=reason), (Promote(),)


def next_stage(state: State, now: float) -> Next:
    """Begin the stage after the one whose step was closed."""
    state = state.entered(Phase.SHIFTING, now, index=state.index + 1, step_started_at=now)
    return state, (state.stage.action,)


def close_step(state: State, decision: str, reason: str, now: float) -> State:
    """The state with the open step in its record, and the test of its split if there is one."""
    canary, baseline = state.pairs[-1]
    closed = RolloutStep(
        percent=state.percent,
        started_at=state.step_started_at,
        duration_s=now - state.step_started_at,
        decision=decision,
        reason=reason,
        guards=list(state.judged.guards) if state.judged else [],
        counts=[_revision(state.names[0], baseline), _revision(state.names[1], canary)],
    )
    tested = (_split_record(state),) if state.stage.splits else ()
    return replace(state, steps=(*state.steps, closed), splits=(*state.splits, *tested))


def split_of(state: State) -> SplitVerdict:
    """The test of the open step's split, by what each revision was given."""
    canary, baseline = given(state)
    return check_split(canary + baseline, canary, state.percent / 100)


def given(state: State) -> tuple[int, int]:
    """The requests that the canary and the baseline were given in the open step."""
    # By what each was given: of answered requests, a canary that is slow to answer would seem to have had too few, and
    # a baseline that answers what it was given before the step opened too many.
    known = state.canary.total.routed or state.baseline.total.routed
    canary, baseline = (max(0, counts.routed if known else counts.requests) for counts in state.pairs[-1])
    return canary, baseline


def fresh_requests(state: State) -> int:
    """The canary's requests in the open step."""
    return state.pairs[-1][0].requests


def stale(state: State, seen: Observation, now: float, *, answers: bool = False) -> str:
    """Why what was counted so far may not promote: it is not of now. Empty if it is."""
    age = state.policy.max_age_s
    if not seen.fresh(now, age):
        return f"no counters that are at most {age:g} s old"
    if now - state.moved_at[0] > age:
        return f"no new request of the canary was counted for {age:g} s"
    if answers and now - state.answered_at > age:
        return f"no new answer of the canary was collected for {age:g} s"
    return ""


def unless_late(state: State, since: float, limit_s: float, missing: str, now: float) -> Next:
    """Go on watching, or end without a verdict once `limit_s` are over."""
    if now - since < limit_s:
        return state, ()
    reason = f"no verdict within {limit_s:g} s at {state.percent} %: {missing}"
    return end(state, Outcome.NOT_ENOUGH_EVIDENCE, reason, now)


def reason_of(state: State) -> str:
    """The sentence of the last verdict."""
    return state.judged.reason if state.judged else "nothing was counted"


def decided(verdict: Verdict | None) -> str:
    """The decision of a verdict, "" before the first one."""
    return verdict.decision if verdict else ""


def _split_record(state: State) -> dict[str, Any]:
    return {"percent": state.percent, "canary": given(state)[0], **split_of(state).__dict__}


def _revision(name: str, counts: Counts) -> RevisionCounts:
    return RevisionCounts(
        revision=name,
        requests=counts.requests,
        failed=counts.failed,
        slow=counts.slow,
        timed=counts.timed,
        routed=counts.routed,
    )
