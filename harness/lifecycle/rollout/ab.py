"""The A/B test: a fixed, sticky split that ends with an effect and its interval.

The interval is valid at every look, so the test may end as soon as it says something: that the two revisions differ,
or that they differ by less than matters. A canary that breaks its SLO ends the test at once, as in every rollout.
"""

from __future__ import annotations

from dataclasses import replace

from harness.lifecycle.evidence import Arm
from harness.lifecycle.rollout._steps import Next, decided, end, promote, reason_of, stale
from harness.lifecycle.rollout.policy import METRICS, ABTest, Metric
from harness.lifecycle.rollout.state import Observation, Outcome, State
from harness.lifecycle.verdict import Verdict, effect, judge
from harness.report.record import Effect


def verdict(policy: ABTest, state: State) -> Verdict:
    """Whether the canary keeps its SLO, and is no worse than the baseline by more than the margin."""
    return judge(state.pairs, policy.slo, final=True, standard=policy.standard, withheld=state.withheld)


def watch(policy: ABTest, state: State, seen: Observation, now: float) -> Next:
    """What follows from a look at the test; its verdict is in the state."""
    if decided(state.judged) == "roll back":
        return end(_with_effects(policy, state), Outcome.ROLLED_BACK, reason_of(state), now)
    lasted = now - state.step_started_at
    if lasted < policy.min_s:
        return state, ()
    over, found = lasted >= policy.max_s, effect_of(policy, state, policy.metric)
    if untold := _untold(policy, state, found):
        return end(_with_effects(policy, state), Outcome.NOT_ENOUGH_EVIDENCE, untold, now) if over else (state, ())
    assert found is not None
    if policy.promote and is_better(policy, found):
        return _promote(policy, state, seen, found, over, now)
    return end(_with_effects(policy, state), Outcome.CLEARED, words(policy, found), now)


def effect_of(policy: ABTest, state: State, metric: Metric) -> Effect | None:
    """The difference in one metric with its interval; None if the metric is not to be had."""
    arms = _arms(policy, state, metric)
    if arms is None or not (arms[0][0] and arms[1][0]):
        return None
    alpha = policy.standard.alpha
    difference, low, high = effect(*arms, alpha=alpha)
    (requests, bad), (canary_requests, canary_bad) = arms
    return Effect(
        metric=metric,
        baseline=bad / requests,
        canary=canary_bad / canary_requests,
        difference=difference,
        low=low,
        high=high,
        confidence=1 - alpha,
    )


def is_better(policy: ABTest, found: Effect) -> bool:
    """Whether the canary is shown to be better, and not by less than matters."""
    above = found.low > 0 if found.metric == "positive" else found.high < 0
    return above and not _within(policy, found)


def words(policy: ABTest, found: Effect) -> str:
    """The finding in a sentence."""
    if found.low <= 0 <= found.high and not _within(policy, found):
        said = "no difference was shown"
    elif _within(policy, found):
        said = f"the difference is less than {policy.min_effect:.2%}"
    else:
        said = "the canary is better" if is_better(policy, found) else "the canary is worse"
    interval = f"{found.confidence:.1%} interval {found.low:+.2%} to {found.high:+.2%}"
    return f"{found.metric}: {said}: {found.canary:.2%} against {found.baseline:.2%}, {interval}"


def _untold(policy: ABTest, state: State, found: Effect | None) -> str:
    """Why the test has no answer yet; empty if it has one."""
    if found is None:
        what = "prediction was collected" if policy.metric == "positive" else "request was counted"
        return f"{policy.metric}: no {what} for both revisions"
    if policy.metric == "slow" and state.withheld:
        return f"slow: withheld: {state.withheld}"
    return "" if found.low > 0 or found.high < 0 or _within(policy, found) else words(policy, found)


def _promote(policy: ABTest, state: State, seen: Observation, found: Effect, over: bool, now: float) -> Next:
    """Promote the better canary once it is shown to keep its SLO too."""
    reason, missing = words(policy, found), ""
    if decided(state.judged) != "promote":
        missing = reason_of(state)
    missing = missing or stale(state, seen, now, answers=policy.metric == "positive")
    state = state if missing and not over else _with_effects(policy, state)
    if not missing:
        return promote(state, reason, now)
    return end(state, Outcome.CLEARED, f"{reason}; not promoted: {missing}", now) if over else (state, ())


def _with_effects(policy: ABTest, state: State) -> State:
    found = (effect_of(policy, state, metric) for metric in METRICS)
    return replace(state, effects=tuple(one for one in found if one is not None))


def _within(policy: ABTest, found: Effect) -> bool:
    return -policy.min_effect <= found.low and found.high <= policy.min_effect


def _arms(policy: ABTest, state: State, metric: Metric) -> tuple[Arm, Arm] | None:
    canary, baseline = state.pairs[-1]
    if metric == "errors":
        return (baseline.requests, baseline.failed), (canary.requests, canary.failed)
    if metric == "slow":
        return (baseline.timed, baseline.slow), (canary.timed, canary.slow)
    found = state.step_answers[-1]
    if policy.cut not in found.cuts:
        return None
    at = found.cuts.index(policy.cut)
    return (
        (found.baseline, found.baseline - found.baseline_below[at]),
        (found.canary, found.canary - found.canary_below[at]),
    )
