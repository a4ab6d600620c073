"""What the policies share: opening and closing steps, what a step still lacks, and ending."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.lifecycle.rollout.actions import Action, RollBack
from harness.lifecycle.rollout.state import OPEN, Outcome, Phase, State
from harness.lifecycle.verdict import Counts, SplitVerdict, Verdict, check_split
from harness.report.record import RevisionCounts, RolloutStep

Next = tuple[State, tuple[Action, ...]]


def end(state: State, outcome: Outcome, reason: str, now: float) -> Next:
    """Give the traffic back to the baseline; the rollout is over once that is confirmed."""
    if state.phase in OPEN:
        decision = {Outcome.ROLLED_BACK: "roll back", Outcome.CLEARED: "cleared"}.get(outcome, "not enough evidence")
        state = close_step(state, decision, reason, now)
    return state.entered(Phase.ROLLING_BACK, now, decided_at=now, outcome=outcome, reason=reason), (RollBack(reason),)


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
    # By what each was given: of answered requests, a canary that is slow to answer would seem to have had too few.
    given, others = (max(counts.routed, counts.requests) for counts in state.pairs[-1])
    return check_split(given + others, given, state.percent / 100)


def fresh_requests(state: State) -> int:
    """The canary's requests in the open step."""
    return state.pairs[-1][0].requests


def stale(state: State, now: float, *, fresh: bool) -> str:
    """Why what was counted so far may not promote: it is not of now. Empty if it is."""
    age = state.policy.max_age_s
    if not fresh:
        return f"no counters that are at most {age:g} s old"
    if now - state.moved_at[0] > age:
        return f"no new request of the canary was counted for {age:g} s"
    return ""


def decided(verdict: Verdict | None) -> str:
    """The decision of a verdict, "" before the first one."""
    return verdict.decision if verdict else ""


def _split_record(state: State) -> dict[str, Any]:
    found = split_of(state)
    given = max(state.pairs[-1][0].routed, state.pairs[-1][0].requests)
    return {"percent": state.percent, "canary": given, **found.__dict__}


def _revision(name: str, counts: Counts) -> RevisionCounts:
    return RevisionCounts(
        revision=name,
        requests=counts.requests,
        failed=counts.failed,
        slow=counts.slow,
        timed=counts.timed,
        routed=counts.routed,
    )
