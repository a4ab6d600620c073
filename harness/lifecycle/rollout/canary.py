"""The canary policy: weights that grow, pauses, gates for people.

Exposure rule: the next weight w exposes a share w of the users, who meet w * p bad answers because of the canary. So
to move to w the evidence must show p < bound / w, and the final promotion p < bound. Evidence adds up over the steps:
early steps are short. The final promotion also needs the evidence of the last step alone: a good past does not promote
a canary that breaks at full weight. Each step also needs fresh canary requests of its own.
"""

from __future__ import annotations

from dataclasses import replace

from harness.lifecycle.rollout._steps import (
    Next,
    close_step,
    decided,
    end,
    fresh_requests,
    given,
    next_stage,
    promote,
    reason_of,
    split_of,
    stale,
    unless_late,
)
from harness.lifecycle.rollout.policy import Canary
from harness.lifecycle.rollout.state import Observation, Outcome, Phase, State
from harness.lifecycle.verdict import GUARDS, Verdict, judge, prediction_shift_guard, split_requests_needed
from harness.report.record import Approval, GuardVerdict


def verdict(policy: Canary, state: State) -> Verdict:
    """The verdict on the counts so far, for moving on from the step that is open."""
    last = state.index + 1 == len(policy.steps)
    return judge(
        state.pairs,
        policy.slo,
        exposure=1.0 if last else policy.steps[state.index + 1] / 100,
        final=last,
        windows=len(policy.steps),
        standard=policy.standard,
        extra=_shift(policy, state),
        withheld=state.withheld,
    )


def watch(policy: Canary, state: State, seen: Observation, now: float) -> Next:
    """What follows from a look at an open step; its verdict is in the state."""
    if decided(state.judged) == "roll back":
        return end(state, Outcome.ROLLED_BACK, reason_of(state), now)
    if wrong := _wrong_split(state):
        return end(state, Outcome.ROLLED_BACK, wrong, now)
    missing = _lacks(policy, state, seen, now)
    if state.phase is Phase.PAUSED:
        return _paused(policy, state, missing, now)
    if state.phase is Phase.GATED:
        return _gated(policy, state, seen, missing, now)
    if not missing:
        if policy.pause_s:
            return state.entered(Phase.PAUSED, now), ()
        return _proven(policy, state, now)
    return unless_late(state, state.step_started_at, policy.max_step_s, missing, now)


def _paused(policy: Canary, state: State, missing: str, now: float) -> Next:
    if now - state.phase_at < policy.pause_s:
        return state, ()
    if not missing:
        return _proven(policy, state, now)
    return unless_late(state, state.phase_at, policy.pause_s + policy.max_step_s, missing, now)


def _proven(policy: Canary, state: State, now: float) -> Next:
    if state.percent not in policy.manual:
        return _advance(policy, state, now)
    asked = Approval(percent=state.percent, asked_at=now, answered_at=None, answer="nobody answered")
    return state.entered(Phase.GATED, now, approvals=(*state.approvals, asked)), ()


def _gated(policy: Canary, state: State, seen: Observation, missing: str, now: float) -> Next:
    asked = state.approvals[-1]
    said = seen.approval if seen.approval and seen.approval.percent == state.percent else None
    if asked.answered_at is None and said is not None:
        answer = "approved" if said.approved else "refused"
        asked = asked.model_copy(update={"answered_at": now, "answer": answer, "by": said.by})
        state = replace(state, approvals=(*state.approvals[:-1], asked))
    if asked.answer == "refused":
        by = f" by {asked.by}" if asked.by else ""
        return end(state, Outcome.ROLLED_BACK, f"refused{by} at {state.percent} %", now)
    if asked.answered_at is not None:
        if not missing:
            return _advance(policy, state, now)
        return unless_late(state, asked.answered_at, policy.max_step_s, missing, now)
    if now - asked.asked_at < policy.approval_s:
        return state, ()
    reason = f"nobody approved {state.percent} % within {policy.approval_s:g} s"
    return end(state, Outcome.NOT_ENOUGH_EVIDENCE, reason, now)


def _advance(policy: Canary, state: State, now: float) -> Next:
    reason = reason_of(state)
    if state.index + 1 == len(policy.steps):
        return promote(state, reason, now)
    return next_stage(close_step(state, "promote", reason, now), now)


def _lacks(policy: Canary, state: State, seen: Observation, now: float) -> str:
    """Why the step cannot be left yet; empty if it can."""
    requests, lasted = fresh_requests(state), now - state.step_started_at
    if decided(state.judged) != "promote":
        return reason_of(state)
    if requests < policy.min_step_requests:
        return f"{requests} canary requests in this step, {policy.min_step_requests - requests} more are needed"
    if lasted < policy.min_step_s:
        return f"the step lasted {lasted:.1f} s, {policy.min_step_s:g} s are needed"
    if policy.prove_split and state.stage.splits and sum(given(state)) < split_requests_needed(state.percent / 100):
        needed = split_requests_needed(state.percent / 100)
        return f"{sum(given(state))} requests were routed, a test of the split needs {needed}"
    return stale(state, seen, now, answers=policy.prediction_shift is not None)


def _shift(policy: Canary, state: State) -> list[GuardVerdict]:
    if policy.prediction_shift is None:
        return []
    windows, guards = len(policy.steps), GUARDS + 1
    return [
        prediction_shift_guard(
            state.step_answers, policy.prediction_shift, policy.standard, guards=guards, windows=windows
        )
    ]


def _wrong_split(state: State) -> str:
    if not state.stage.splits:
        return ""
    found = split_of(state)
    seen = f"{found.observed:.1%} of {found.requests} requests, {state.percent} % is configured"
    return "" if found.passed else f"split: {seen} (p = {found.p_value:.0e})"
