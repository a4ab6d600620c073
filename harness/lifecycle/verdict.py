"""Verdicts on a canary from cumulative counts, with stated error rates and with peeking allowed.

Four guards watch a canary: failed requests and slow requests, each against the SLO's bound and against the baseline
that served at the same time. harness.lifecycle.evidence holds the statistics and their sources. Rates of error:

- the final promotion needs the last step alone, and all steps together, to show that each bound is kept. A canary
  that breaks a bound during the last step is promoted with probability at most beta, whatever it did before; so is one
  that breaks a bound all along. One that breaks in the middle of the last step is not covered.
- moving on to a further weight needs the steps so far together: a canary whose p was at or above bound / exposure all
  along moves on with probability at most beta;
- a wrong roll back needs one of four kept guards to look broken. Each guard's evidence_bad carries the weight 1/4, so
  that their sum is an e-process, and any of them reaches 1/alpha with probability at most alpha in all.

The comparison with the baseline is made within each step, because the split must not change in it. It can veto a
promotion, and is never needed for one: at 100 % there is no baseline traffic to compare with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from operator import mul
from typing import Literal

from harness.lifecycle.evidence import (
    Arm,
    evidence_bad,
    evidence_good,
    evidence_other,
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
    """Requests of one revision and those that failed; requests whose latency is known (`timed`) and the slow of them.

    Latencies are known later than requests, and never for those that no replica answered. `routed` are all that it was
    given, answered or not; 0 where that is not known.
    """

    requests: int = 0
    failed: int = 0
    slow: int = 0
    timed: int = 0
    routed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + yours for mine, yours in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(mine - yours for mine, yours in zip(astuple(self), astuple(other), strict=True)))


ZERO = Counts()
Pair = tuple[Counts, Counts]  # the canary's and the baseline's counts over the same time


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
    """The test of an observed traffic split, valid at any stopping time; shares and p_value are in [0, 1]."""

    configured: float
    observed: float
    requests: int
    p_value: float
    passed: bool


def judge(
    steps: Sequence[Pair],
    slo: SLO,
    *,
    exposure: float = 1.0,
    final: bool = False,
    windows: int = 1,
    standard: Standard = STANDARD,
) -> Verdict:
    """Judge a canary by its counts and the baseline's in each step so far; the last step is the one that is open.

    `exposure` is the share of users at the next weight: they meet exposure * p bad answers because of the canary, so
    "promote" says that p is below bound / exposure. The `final` promotion also asks the last step alone for it.
    Rolling back is always about the full bound: evidence_bad is the mean over `windows` starts, one for each step of
    the plan, so that a good past does not shield a canary that breaks late. A start that is yet to come holds
    evidence 1; `windows` must stay the same during a rollout.
    """
    windows = max(windows, len(steps))
    guards: list[GuardVerdict] = []
    asked: list[tuple[Arm, float]] = []
    for name, bound in (("errors", slo.errors), ("slow", slo.slow)):
        arms = [(_arm(canary, name), _arm(baseline, name)) for canary, baseline in steps]
        starts = [_sum(canary for canary, _ in arms[at:]) for at in range(len(arms))]
        to_show = (starts[0], starts[-1]) if final else starts[:1]
        guards.append(_against_bound(name, bound, bound / exposure, starts, to_show, windows, standard))
        guards.append(_against_baseline(name, bound, arms, windows, standard))
        asked += [(arm, bound / exposure) for arm in to_show]
    decision = _decide(guards)
    if decision == "roll back":
        reason = "; ".join(_broken(guard) for guard in guards if guard.decision == "roll back")
    elif decision == "promote":
        reason = _kept(steps, exposure, final=final)
    else:
        missing = max(requests_needed(bound, standard.beta, requests=n, bad=bad) for (n, bad), bound in asked)
        reason = f"{_words(_total(steps))}: {missing} more requests, all good, are needed to be sure"
    return Verdict(decision, tuple(guards), reason)


def check_split(requests: int, canary: int, weight: float) -> SplitVerdict:
    """Test that `canary` of `requests` fit the configured weight in (0, 1); a correct split fails once in a million."""
    p_value = min(1.0, 1 / evidence_other(requests, canary, weight))
    observed = canary / requests if requests else 0.0
    return SplitVerdict(weight, observed, requests, p_value, p_value >= SPLIT_P_VALUE)


def _arm(counts: Counts, name: str) -> Arm:
    # Slow requests are held against those whose latency is known, never against requests that are not judged yet.
    requests, bad = (counts.requests, counts.failed) if name == "errors" else (counts.timed, counts.slow)
    # Counters are read one after another, so one can be ahead of the next by the requests in between.
    return max(0, requests), max(0, min(bad, requests))


def _against_bound(
    name: str,
    bound: float,
    to_promote: float,
    starts: Sequence[Arm],
    to_show: Sequence[Arm],
    windows: int,
    standard: Standard,
) -> GuardVerdict:
    kept = [evidence_good(*arm, to_promote) for arm in to_show]
    against = [evidence_bad(*arm, bound) for arm in starts]
    broken = _mean(against, windows) / GUARDS
    # The counts shown are those of the evidence: a canary that breaks late is convicted by its last steps.
    shown = starts[against.index(max(against))] if broken >= 1 / standard.alpha else to_show[kept.index(min(kept))]
    return _guard(name, bound, shown, _share(shown), min(kept), broken, standard)


def _against_baseline(
    name: str, bound: float, steps: Sequence[tuple[Arm, Arm]], windows: int, standard: Standard
) -> GuardVerdict:
    margin = bound * standard.margin_share
    good = _mean([evidence_worse(baseline, canary, -margin) for canary, baseline in steps], windows)
    against = [evidence_worse(canary, baseline, margin) for canary, baseline in steps]
    worse = _mean(against, windows) / GUARDS
    shown = [steps[against.index(max(against))]] if worse >= 1 / standard.alpha else steps
    canary = _sum(canary for canary, _ in shown)
    return _guard(f"{name} against baseline", margin, canary, _difference(shown), good, worse, standard)


def _mean(evidence: Sequence[float], windows: int) -> float:
    """The mean over all windows of a rollout, those included that have not begun and hold evidence 1."""
    return (sum(evidence) + windows - len(evidence)) / windows


def _difference(steps: Sequence[tuple[Arm, Arm]]) -> float:
    """By how much the canary's share exceeds the baseline's within the steps (Mantel and Haenszel's weights)."""
    both = [(canary, baseline) for canary, baseline in steps if canary[0] and baseline[0]]
    weights = [canary[0] * baseline[0] / (canary[0] + baseline[0]) for canary, baseline in both]
    differences = [_share(canary) - _share(baseline) for canary, baseline in both]
    return sum(map(mul, weights, differences)) / sum(weights) if both else 0.0


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


def _kept(steps: Sequence[Pair], exposure: float, *, final: bool) -> str:
    users = "" if exposure == 1 else f" for {exposure:.0%} of the users"
    last = f", and so is the last step alone ({_words(steps[-1][0])})" if final and len(steps) > 1 else ""
    return f"{_words(_total(steps))}: within the SLO{users}{last}"


def _words(counts: Counts) -> str:
    timed = "" if counts.timed == counts.requests else f" of {counts.timed} timed"
    return f"{counts.requests} requests, {counts.failed} failed, {counts.slow} slow{timed}"


def _broken(guard: GuardVerdict) -> str:
    seen = f"{guard.bad} of {guard.requests} requests ({guard.observed:.2%}), {guard.bound:.2%} is allowed"
    if guard.guard.endswith("baseline"):
        seen = f"{guard.observed:+.2%} over {guard.requests} requests, {guard.bound:+.2%} is allowed"
    return f"{guard.guard}: {seen}"


def _total(steps: Sequence[Pair]) -> Counts:
    return sum((canary for canary, _ in steps), ZERO)


def _sum(arms: Iterable[Arm]) -> Arm:
    requests, bad = zip(*arms, strict=True)
    return sum(requests), sum(bad)


def _share(arm: Arm) -> float:
    return arm[1] / arm[0] if arm[0] else 0.0
