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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Literal

from harness.lifecycle.budget import budget_problem
from harness.lifecycle.counts import ZERO, Counts, Pair
from harness.lifecycle.evidence import effect, requests_needed
from harness.lifecycle.guards import (
    AGAINST_BASELINE,
    AGREEMENT,
    GUARDS,
    PREDICTIONS,
    STANDARD,
    Standard,
    agreement_guard,
    from_each_start,
    guard,
    mean_over,
    prediction_shift_guard,
    weigh,
)
from harness.lifecycle.slo import SLO
from harness.lifecycle.split import SplitVerdict, check_split, split_power, split_requests_needed
from harness.report.record import GuardVerdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "GUARDS",
    "STANDARD",
    "ZERO",
    "Counts",
    "Decision",
    "Pair",
    "SplitVerdict",
    "Standard",
    "Verdict",
    "agreement_guard",
    "budget_problem",
    "check_split",
    "effect",
    "judge",
    "prediction_shift_guard",
    "split_power",
    "split_requests_needed",
]

Decision = Literal["promote", "roll back", "not enough evidence"]


@dataclass(frozen=True)
class Verdict:
    """A decision, the guards it rests on, and one sentence with the counts."""

    decision: Decision
    guards: tuple[GuardVerdict, ...]
    reason: str


def judge(
    steps: Sequence[Pair],
    slo: SLO,
    *,
    exposure: float = 1.0,
    final: bool = False,
    windows: int = 1,
    standard: Standard = STANDARD,
    extra: Sequence[GuardVerdict] = (),
    withheld: str = "",
) -> Verdict:
    """Judge a canary by its counts and the baseline's in each step so far; the last step is the one that is open.

    `exposure` is the share of users at the next weight: they meet exposure * p bad answers because of the canary, so
    "promote" says that p is below bound / exposure. The `final` promotion also asks the last step alone for it, and
    every `extra` guard; any guard can roll back, so each `extra` one is to be made with `guards` = 4 + their number.
    Rolling back is always about the full bound: evidence_bad is the mean over `windows` starts, one for each step of
    the plan, so that a good past does not shield a canary that breaks late. A start that is yet to come holds
    evidence 1; `windows` and the number of `extra` guards must stay the same during a rollout. If `withheld` says why
    latencies cannot be trusted, both slow guards abstain, so nothing is promoted.
    """
    rollout = _Rollout(standard, max(windows, len(steps)), GUARDS + len(extra), (0, -1) if final else (0,))
    guards: list[GuardVerdict] = []
    asked: list[tuple[tuple[int, int], float]] = []
    for seen in _watched(steps, slo, exposure, standard):
        abstains = bool(withheld) and seen.name == "slow"
        guards += (_against_bound(seen, rollout, abstains), _against_baseline(seen, rollout, abstains))
        asked += [(seen.start(at), seen.bound / exposure) for at in rollout.to_show if not abstains]
    guards += extra
    needed = [found for found in guards if not found.guard.endswith(AGAINST_BASELINE) and (final or found not in extra)]
    if any(found.decision == "roll back" for found in guards):
        reason = "; ".join(_broken(found) for found in guards if found.decision == "roll back")
        return Verdict("roll back", tuple(guards), reason)
    if all(found.decision == "promote" for found in needed):
        return Verdict("promote", tuple(guards), _kept(steps, exposure, final=final))
    waiting = [found for found in needed if found in extra and found.decision != "promote"]
    return Verdict("not enough evidence", tuple(guards), _missing(steps, asked, waiting, withheld, standard))


@dataclass(frozen=True)
class _Watched:
    """One proportion in each step: requests and bad ones, and the e-values."""

    name: str
    bound: float
    margin: float
    canary: npt.NDArray[np.int64]  # requests and bad ones, in each step
    baseline: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]  # the canary's from each step on
    kept: npt.NDArray[np.float64]
    broken: npt.NDArray[np.float64]
    worse: npt.NDArray[np.float64]
    not_worse: npt.NDArray[np.float64]

    def start(self, at: int) -> tuple[int, int]:
        return int(self.starts[0, at]), int(self.starts[1, at])


@dataclass(frozen=True)
class _Rollout:
    """What e-values share in a rollout: alpha among the guards, and the mean over all windows."""

    standard: Standard
    windows: int
    guards: int
    to_show: tuple[int, ...]  # the starts from which the bound must be shown to be kept

    def against(self, evidence: npt.NDArray[np.float64]) -> float:
        return float(mean_over(evidence, self.windows)) / self.guards

    def convicts(self, against: float) -> bool:
        return against >= 1 / self.standard.alpha


def _watched(steps: Sequence[Pair], slo: SLO, exposure: float, standard: Standard) -> Iterator[_Watched]:
    canary, baseline = (_counts([pair[which] for pair in steps]) for which in (0, 1))
    found = weigh(tuple(canary), tuple(baseline), slo, exposure, standard)
    starts = from_each_start(canary)
    for row, (name, bound) in enumerate((("errors", slo.errors), ("slow", slo.slow))):
        yield _Watched(
            name,
            bound,
            bound * standard.margin_share,
            canary[:, row],
            baseline[:, row],
            starts[:, row],
            found.kept[row],
            found.broken[row],
            found.worse[row],
            found.not_worse[row],
        )


def _counts(steps: Sequence[Counts]) -> npt.NDArray[np.int64]:
    """An array (requests or bad ones, errors or slow, step)."""
    import numpy as np

    # Slow requests are held against those whose latency is known, never against requests that are not judged yet.
    table = [
        [[counts.requests for counts in steps], [counts.timed for counts in steps]],
        [[counts.failed for counts in steps], [counts.slow for counts in steps]],
    ]
    found = np.maximum(np.array(table), 0)
    # Counters are read one after another, so one can be ahead of the next by the requests in between.
    np.minimum(found[1], found[0], out=found[1])
    return np.asarray(found)


def _against_bound(seen: _Watched, rollout: _Rollout, abstains: bool) -> GuardVerdict:
    kept = [float(seen.kept[at]) for at in rollout.to_show]
    broken = rollout.against(seen.broken)
    # The counts shown are those of the evidence: a canary that breaks late is convicted by its last steps.
    late = rollout.convicts(broken)
    shown = seen.start(int(seen.broken.argmax()) if late else rollout.to_show[kept.index(min(kept))])
    evidence = (min(kept), broken)
    return guard(seen.name, seen.bound, shown, _share(shown), evidence, rollout.standard, abstains=abstains)


def _against_baseline(seen: _Watched, rollout: _Rollout, abstains: bool) -> GuardVerdict:
    worse = rollout.against(seen.worse)
    at = int(seen.worse.argmax())
    shown = slice(at, at + 1) if rollout.convicts(worse) else slice(None)
    canary, baseline = seen.canary[:, shown], seen.baseline[:, shown]
    evidence = (float(mean_over(seen.not_worse, rollout.windows)), worse)
    return guard(
        seen.name + AGAINST_BASELINE,
        seen.margin,
        (int(canary[0].sum()), int(canary[1].sum())),
        _difference(canary.T.tolist(), baseline.T.tolist()),
        evidence,
        rollout.standard,
        abstains=abstains,
    )


def _difference(canary: Sequence[tuple[int, int]], baseline: Sequence[tuple[int, int]]) -> float:
    """By how much the canary's share exceeds the baseline's within the steps (Mantel and Haenszel's weights)."""
    both = [(mine, other) for mine, other in zip(canary, baseline, strict=True) if mine[0] and other[0]]
    weights = [mine[0] * other[0] / (mine[0] + other[0]) for mine, other in both]
    differences = [_share(mine) - _share(other) for mine, other in both]
    return sum(map(mul, weights, differences)) / sum(weights) if both else 0.0


def _kept(steps: Sequence[Pair], exposure: float, *, final: bool) -> str:
    users = "" if exposure == 1 else f" for {exposure:.0%} of the users"
    last = f", and so is the last step alone ({_words(steps[-1][0])})" if final and len(steps) > 1 else ""
    return f"{_words(_total(steps))}: within the SLO{users}{last}"


def _missing(
    steps: Sequence[Pair],
    asked: Sequence[tuple[tuple[int, int], float]],
    waiting: Sequence[GuardVerdict],
    withheld: str,
    standard: Standard,
) -> str:
    import numpy as np

    arms, bounds = zip(*asked, strict=True)
    requests, bad = np.array(arms).T
    missing = int(requests_needed(np.array(bounds), standard.beta, requests=requests, bad=bad).max())
    parts = [f"{missing} more requests, all good, are needed to be sure"] if missing else []
    parts += [f"{found.guard}: {_seen(found)}, not enough to be sure" for found in waiting]
    parts += [f"the verdict on latency is withheld: {withheld}"] if withheld else []
    return f"{_words(_total(steps))}: {'; '.join(parts)}"


def _words(counts: Counts) -> str:
    timed = "" if counts.timed == counts.requests else f" of {counts.timed} timed"
    return f"{counts.requests} requests, {counts.failed} failed, {counts.slow} slow{timed}"


def _broken(found: GuardVerdict) -> str:
    return f"{found.guard}: {_seen(found)}"


def _seen(found: GuardVerdict) -> str:
    if found.guard.endswith(AGAINST_BASELINE):
        return f"{found.observed:+.2%} over {found.requests} requests, {found.bound:+.2%} is allowed"
    if found.guard == PREDICTIONS:
        return f"shifted by {found.observed:.2%} over {found.requests} predictions, {found.bound:.2%} is allowed"
    what = "copies got another answer" if found.guard == AGREEMENT else "requests"
    return f"{found.bad} of {found.requests} {what} ({found.observed:.2%}), {found.bound:.2%} is allowed"


def _total(steps: Sequence[Pair]) -> Counts:
    return sum((canary for canary, _ in steps), ZERO)


def _share(arm: Sequence[int]) -> float:
    return arm[1] / arm[0] if arm[0] else 0.0
