"""The state machine: `step(state, observation, now) -> (state, actions)`, the same for all policies; pure."""

from __future__ import annotations

from harness.lifecycle.rollout import ab, blue_green, canary, shadow
from harness.lifecycle.rollout._steps import Next, end
from harness.lifecycle.rollout.actions import Action, Promote, RollBack
from harness.lifecycle.rollout.policy import ABTest, BlueGreen, Canary, Shadow
from harness.lifecycle.rollout.state import OPEN, Observation, Outcome, Phase, State


def step(state: State, seen: Observation, now: float) -> tuple[State, tuple[Action, ...]]:
    """The next state and what to do, from one observation at `now` seconds; pure."""
    if state.phase is Phase.DONE:
        return state, ()
    state = state.absorbed(seen, now)
    if state.phase is Phase.ROLLING_BACK:
        return (state if seen.failure else state.entered(Phase.DONE, now)), ()
    if seen.failure:
        return end(state, Outcome.ROLLED_BACK, seen.failure, now)
    if state.phase is Phase.STARTING:
        return _starting(state, seen, now)
    if state.phase is Phase.SHIFTING:
        return _shifting(state, seen, now)
    if state.phase is Phase.PROMOTING:
        return state.entered(Phase.DONE, now, outcome=Outcome.PROMOTED), ()
    return _open(state, seen, now)


def pending(state: State) -> tuple[Action, ...]:
    """What may not have happened yet when a rollout goes on from `state`; doing it twice does no harm."""
    if state.phase is Phase.PROMOTING:
        return (Promote(),)
    if state.phase is Phase.ROLLING_BACK:
        return (RollBack(state.reason),)
    return (state.stage.action,) if state.phase is Phase.SHIFTING or state.phase in OPEN else ()


def expired(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    """End a rollout whose time is over: the baseline serves, and the reason says what was missing.

    A promotion or a roll back that was asked for is not stopped half-way.
    """
    if state.phase in (Phase.PROMOTING, Phase.ROLLING_BACK, Phase.DONE):
        return state, ()
    missing = f"; {state.judged.reason}" if state.judged and state.phase in OPEN else ""
    where = "before the canary was ready" if state.phase is Phase.STARTING else f"at {state.percent} %"
    return end(state, Outcome.NOT_ENOUGH_EVIDENCE, f"the time was over {where}{missing}", now)


def _starting(state: State, seen: Observation, now: float) -> Next:
    limit_s = state.policy.starts_within_s
    if seen.ready:
        return state.entered(Phase.SHIFTING, now, step_started_at=now), (state.stage.action,)
    if now - state.started_at >= limit_s:
        return end(state, Outcome.ROLLED_BACK, f"the canary was not ready within {limit_s:g} s", now)
    return state, ()


def _shifting(state: State, seen: Observation, now: float) -> Next:
    # Without a first reading, requests from before this step would count as evidence of it.
    settled = now - state.step_started_at >= state.stage.settles_s
    if settled and seen.fresh(now, state.policy.max_age_s):
        return state.opened(now), ()
    limit_s = state.policy.starts_within_s
    if now - state.step_started_at < limit_s:
        return state, ()
    return end(state, Outcome.NOT_ENOUGH_EVIDENCE, f"no counters within {limit_s:g} s at {state.percent} %", now)


def _open(state: State, seen: Observation, now: float) -> Next:
    policy = state.policy
    match policy:
        case Canary():
            return canary.watch(policy, state.noted(canary.verdict(policy, state), now), seen, now)
        case ABTest():
            return ab.watch(policy, state.noted(ab.verdict(policy, state), now), seen, now)
        case BlueGreen():
            return blue_green.watch(policy, state.noted(blue_green.verdict(policy, state), now), seen, now)
        case Shadow():
            return shadow.watch(policy, state.noted(shadow.verdict(policy, state), now), seen, now)
