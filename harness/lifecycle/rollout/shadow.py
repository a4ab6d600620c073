"""The shadow: copies of the traffic go to the canary, and its answers are compared with the baseline's.

No user meets the canary, so the test can be as long as it has to be. What it cannot show is what users make of the
answers, and a model with side effects has them twice.
"""

from __future__ import annotations

from harness.lifecycle.rollout._steps import (
    Next,
    decided,
    end,
    fresh_requests,
    promote,
    reason_of,
    stale,
    unless_late,
)
from harness.lifecycle.rollout.policy import Shadow
from harness.lifecycle.rollout.state import Observation, Outcome, State
from harness.lifecycle.verdict import GUARDS, Verdict, agreement_guard, judge, prediction_shift_guard
from harness.report.record import GuardVerdict


def verdict(policy: Shadow, state: State) -> Verdict:
    """The verdict on the copies: errors, latencies, agreement and prediction shift."""
    return judge(
        state.pairs,
        policy.slo,
        final=True,
        standard=policy.standard,
        extra=_comparisons(policy, state),
        withheld=state.withheld,
    )


def watch(policy: Shadow, state: State, seen: Observation, now: float) -> Next:
    """What follows from a look at the shadow; its verdict is in the state."""
    reason = reason_of(state)
    if decided(state.judged) == "roll back":
        return end(state, Outcome.ROLLED_BACK, reason, now)
    missing = _lacks(policy, state, seen, now)
    if missing:
        return unless_late(state, state.step_started_at, policy.max_s, missing, now)
    if not policy.promote:
        return end(state, Outcome.CLEARED, reason, now)
    return promote(state, reason, now)


def _lacks(policy: Shadow, state: State, seen: Observation, now: float) -> str:
    copies, lasted = fresh_requests(state), now - state.step_started_at
    if decided(state.judged) != "promote":
        return reason_of(state)
    if copies < policy.min_requests:
        return f"{copies} of {policy.min_requests} copies were answered"
    if lasted < policy.min_s:
        return f"it lasted {lasted:.1f} s, {policy.min_s:g} s are needed"
    return stale(state, seen, now, answers=bool(_compared(policy)))


def _compared(policy: Shadow) -> list[float]:
    return [bound for bound in (policy.min_agreement, policy.prediction_shift) if bound is not None]


def _comparisons(policy: Shadow, state: State) -> list[GuardVerdict]:
    answers, guards = state.step_answers[-1], GUARDS + len(_compared(policy))
    found = []
    if policy.min_agreement is not None:
        compared, agreed = answers.compared, answers.agreed
        found.append(agreement_guard(compared, agreed, policy.min_agreement, policy.standard, guards=guards))
    if policy.prediction_shift is not None:
        found.append(prediction_shift_guard(answers, policy.prediction_shift, policy.standard, guards=guards))
    return found
