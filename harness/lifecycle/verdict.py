"""Verdicts on a canary from cumulative counts, with stated error rates and with peeking allowed.

Four guards watch a canary: failed requests and slow requests, each against the SLO's bound and against the baseline
that served at the same time. harness.lifecycle.evidence holds the statistics and their sources. Rates of error:

- a wrong promotion needs a broken guard to look kept, which has probability at most beta;
- a wrong roll back needs one of four kept guards to look broken. Each guard's evidence_bad carries the weight 1/4, so
  that their sum is an e-process, and any of them reaches 1/alpha with probability at most alpha in all.

The comparison with the baseline can veto a promotion, and is never needed for one: at 100 % there is no baseline
traffic to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.lifecycle.evidence import (
    Arm,
    binomial_p_value,
    evidence_bad,
    evidence_good,
    evidence_worse,
    requests_needed,
)
from harness.lifecycle.slo import SLO
from harness.report.record import GuardVerdict

Decision = Literal["promote", "roll back", "not enough evidence"]

GUARDS = 4
SPLIT_P_VALUE = 1e-6


@dataclass(frozen=True)
class Counts:
    """Requests that one revision answered, those that failed, and those slower than the SLO's threshold."""

    requests: int = 0
    failed: int = 0
    slow: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.failed + other.failed, self.slow + other.slow)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.requests - other.requests, self.failed - other.failed, self.slow - other.slow)


ZERO = Counts()


@dataclass(frozen=True)
class Standard:
    """How sure a verdict must be: P(wrong roll back) <= alpha, P(wrong promotion) <= beta, and the margin.

    A canary may be worse than its baseline by `margin_share` of the SLO's bound.
    """

    alpha: float = 1e-3
    beta: float = 1e-3
    margin_share: float = 0.5


STANDARD = Standard()


@dataclass(frozen=True)
class Verdict:
    """A decision, the guards it rests on, and one sentence with the counts."""

    decision: Decision
    guards: tuple[GuardVerdict, ...]
    reason: str


@dataclass(frozen=True)
class SplitVerdict:
    """The exact two-sided binomial test of an observed traffic split; shares and p_value are in [0, 1]."""

    configured: float
    observed: float
    requests: int
    p_value: float
    passed: bool


def judge(
    canary: Counts,
    baseline: Counts,
    slo: SLO,
    *,
    exposure: float = 1.0,
    since: Sequence[Counts] = (),
    windows: int = 1,
    standard: Standard = STANDARD,
) -> Verdict:
    """Judge a canary by its counts since its first traffic, and the baseline's over the same time.

    `exposure` is the share of users at the next weight: they meet exposure * p bad answers because of the canary, so
    "promote" says that p is below bound / exposure; the final promotion needs 1, the full bound. Rolling back is
    always about the full bound. `since` holds the canary's counts from later starts, such as that of each step:
    evidence_bad is the mean over `windows` starts, so that a good past does not shield a canary that breaks late.
    A start that is yet to come holds evidence 1; `windows` must stay the same during a rollout.
    """
    starts = (canary, *since)
    guards: list[GuardVerdict] = []
    for name, bound in (("errors", slo.errors), ("slow", slo.slow)):
        arms = [_arm(counts, name) for counts in starts]
        guards.append(_against_bound(name, bound, exposure, arms, max(windows, len(arms)), standard))
        guards.append(_against_baseline(name, bound, arms[0], _arm(baseline, name), standard))
    decision = _decide(guards)
    return Verdict(decision, tuple(guards), _reason(decision, guards, exposure, standard))


def check_split(requests: int, canary: int, weight: float) -> SplitVerdict:
    """Test that `canary` of `requests` fit the configured weight in (0, 1); a correct split fails once in a million."""
    p_value = binomial_p_value(requests, canary, weight)
    observed = canary / requests if requests else 0.0
    return SplitVerdict(weight, observed, requests, p_value, p_value >= SPLIT_P_VALUE)


def _arm(counts: Counts, name: str) -> Arm:
    # Counters are read one after another, so one can be ahead of the next by the requests in between.
    bad = counts.failed if name == "errors" else counts.slow
    return max(0, counts.requests), max(0, min(bad, counts.requests))


def _against_bound(
    name: str, bound: float, exposure: float, arms: Sequence[Arm], windows: int, standard: Standard
) -> GuardVerdict:
    good = evidence_good(*arms[0], bound / exposure)
    against = [evidence_bad(*arm, bound) for arm in arms]
    broken = (sum(against) + windows - len(arms)) / windows / GUARDS
    # A canary that breaks late is convicted by its last window: the counts shown must be those of the evidence.
    shown = arms[against.index(max(against))] if broken >= 1 / standard.alpha else arms[0]
    return _guard(name, bound, shown, _share(shown), good, broken, standard)


def _against_baseline(name: str, bound: float, canary: Arm, baseline: Arm, standard: Standard) -> GuardVerdict:
    margin = bound * standard.margin_share
    good = evidence_worse(baseline, canary, -margin)
    worse = evidence_worse(canary, baseline, margin) / GUARDS
    difference = _share(canary) - _share(baseline) if canary[0] and baseline[0] else 0.0
    return _guard(f"{name} against baseline", margin, canary, difference, good, worse, standard)


def _guard(
    name: str, bound: float, arm: Arm, observed: float, good: float, broken: float, standard: Standard
) -> GuardVerdict:
    decision: Decision = "not enough evidence"
    if broken >= 1 / standard.alpha:
        decision = "roll back"
    elif good >= 1 / standard.beta:
        decision = "promote"
    return GuardVerdict(
        guard=name,
        bound=bound,
        observed=observed,
        requests=arm[0],
        bad=arm[1],
        evidence_good=good,
        evidence_bad=broken,
        promote_at=1 / standard.beta,
        roll_back_at=1 / standard.alpha,
        decision=decision,
    )


def _decide(guards: Sequence[GuardVerdict]) -> Decision:
    if any(guard.decision == "roll back" for guard in guards):
        return "roll back"
    return "promote" if all(guard.decision == "promote" for guard in _needed(guards)) else "not enough evidence"


def _needed(guards: Sequence[GuardVerdict]) -> Iterator[GuardVerdict]:
    return (guard for guard in guards if not guard.guard.endswith("baseline"))


def _reason(decision: Decision, guards: Sequence[GuardVerdict], exposure: float, standard: Standard) -> str:
    if decision == "roll back":
        return "; ".join(_broken(guard) for guard in guards if guard.decision == "roll back")
    counts = f"{guards[0].requests} requests, " + ", ".join(
        f"{guard.bad} {'failed' if guard.guard == 'errors' else guard.guard}" for guard in _needed(guards)
    )
    if decision == "promote":
        return f"{counts}: within the SLO" + ("" if exposure == 1 else f" for {exposure:.0%} of the users")
    missing = max(
        requests_needed(guard.bound / exposure, standard.beta, requests=guard.requests, bad=guard.bad)
        for guard in _needed(guards)
    )
    return f"{counts}: {missing} more requests, all good, are needed to be sure"


def _broken(guard: GuardVerdict) -> str:
    seen = f"{guard.bad} of {guard.requests} requests ({guard.observed:.2%}), {guard.bound:.2%} is allowed"
    if guard.guard.endswith("baseline"):
        seen = f"{guard.observed:+.2%} over {guard.requests} requests, {guard.bound:+.2%} is allowed"
    return f"{guard.guard}: {seen}"


def _share(arm: Arm) -> float:
    return arm[1] / arm[0] if arm[0] else 0.0
