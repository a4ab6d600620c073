"""Blue-green: green is warmed by copies, gets all traffic at once, holds it, and replaces blue when blue is idle.

Until green is promoted blue keeps all its replicas, so that the way back is one weight.
"""

from __future__ import annotations

from harness.lifecycle.rollout._steps import (
    Next,
    close_step,
    decided,
    end,
    fresh_requests,
    next_stage,
    promote,
    reason_of,
    stale,
    unless_late,
)
from harness.lifecycle.rollout.policy import BlueGreen
from harness.lifecycle.rollout.state import Observation, Outcome, Phase, State
from harness.lifecycle.verdict import Verdict, judge


def verdict(policy: BlueGreen, state: State) -> Verdict:
    """The verdict on the open step alone: that green's first copies were slow is what warming is for."""
    warming = "green is being warmed" if state.percent == 0 else ""
    return judge(
        state.pairs[-1:],
        policy.slo,
        final=True,
        windows=len(policy.stages),
        standard=policy.standard,
        withheld=warming or state.withheld,
    )


def watch(policy: BlueGreen, state: State, seen: Observation, now: float) -> Next:
    """What follows from a look at the warming, the hold or the drain; its verdict is in the state."""
    if decided(state.judged) == "roll back":
        return end(state, Outcome.ROLLED_BACK, reason_of(state), now)
    if state.percent == 0:
        return _warming(policy, state, seen, now)
    missing = stale(state, seen, now) if decided(state.judged) == "promote" else reason_of(state)
    if state.phase is Phase.DRAINING:
        return _draining(policy, state, seen, missing, now)
    lasted = now - state.step_started_at
    if not missing and lasted >= policy.hold_s:
        return state.entered(Phase.DRAINING, now), ()
    return unless_late(state, state.step_started_at, policy.max_hold_s, missing, now)


def _warming(policy: BlueGreen, state: State, seen: Observation, now: float) -> Next:
    copies, lasted = fresh_requests(state), now - state.step_started_at
    missing = f"{copies} of {policy.warm_requests} copies were answered" if copies < policy.warm_requests else ""
    missing = missing or (stale(state, seen, now) if policy.warm_requests else "")
    if missing or lasted < policy.warm_s:
        return unless_late(state, state.step_started_at, policy.max_hold_s, missing, now)
    return next_stage(close_step(state, "warm", f"{copies} copies were answered", now), now)


def _draining(policy: BlueGreen, state: State, seen: Observation, missing: str, now: float) -> Next:
    read_at = now if seen.at is None else seen.at  # a reading says nothing of the time after it
    idle_s = max(0.0, read_at - max(state.phase_at, state.moved_at[1]))
    if idle_s < policy.drain_s:
        missing = f"{state.names[0]} answered a request {idle_s:.1f} s ago"
    if missing:
        return unless_late(state, state.phase_at, policy.max_hold_s, missing, now)
    return promote(state, reason_of(state), now)
