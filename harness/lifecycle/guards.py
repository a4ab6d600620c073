"""The guards of a rollout: e-values of each watched proportion, for one rollout or for many at once, and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.lifecycle.answers import Answers
from harness.lifecycle.evidence import Arm, evidence_apart, evidence_bad, evidence_good
from harness.lifecycle.slo import SLO
from harness.report.record import GuardVerdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

GUARDS = 4  # errors and slow requests, each against the SLO's bound and against the baseline
AGAINST_BASELINE, PREDICTIONS, AGREEMENT = " against baseline", "predictions", "agreement"


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
class Evidence:
    """E-values of rollouts; the last axis but one is (errors, slow), the last axis the starts or the steps.

    `kept` and `broken` are about the SLO's bound from the start of each step on, `not_worse` and `worse` about the
    baseline within each step. A step that has not begun holds evidence 1.
    """

    kept: Floats
    broken: Floats
    not_worse: Floats
    worse: Floats


def weigh(canary: Arm, baseline: Arm, slo: SLO, exposure: Any, standard: Standard = STANDARD) -> Evidence:
    """The evidence of rollouts from arrays of counts of shape (..., 2, steps); `exposure` broadcasts to (..., 1, 1)."""
    import numpy as np

    bound = np.array([[slo.errors], [slo.slow]])
    requests, bad = from_each_start(canary[0]), from_each_start(canary[1])
    worse, not_worse = evidence_apart(canary, baseline, bound * standard.margin_share)
    kept, broken = evidence_good(requests, bad, bound / exposure), evidence_bad(requests, bad, bound)
    return Evidence(kept, broken, not_worse, worse)


def from_each_start(counts: Any) -> Any:
    """The counts from the start of each step to the end of the last; the steps are the last axis."""
    return counts[..., ::-1].cumsum(-1)[..., ::-1]


def mean_over(evidence: Any, windows: int) -> Any:
    """The mean over all windows of a rollout, the last axis, those included that have not begun and hold evidence 1."""
    return (evidence.sum(-1) + windows - evidence.shape[-1]) / windows


def guard(
    name: str,
    bound: float,
    arm: tuple[int, int],
    observed: float,
    evidence: tuple[float, float],
    standard: Standard,
    *,
    abstains: bool = False,
) -> GuardVerdict:
    """One guard's verdict from its (good, bad) evidence; one that `abstains` has none, whatever its evidence."""
    good, bad = evidence
    decision: Any = "roll back" if bad >= 1 / standard.alpha else "promote" if good >= 1 / standard.beta else ""
    return GuardVerdict(
        guard=name,
        bound=bound,
        observed=observed,
        requests=arm[0],
        bad=arm[1],
        evidence_good=good,
        evidence_bad=bad,
        promote_at=1 / standard.beta,
        roll_back_at=1 / standard.alpha,
        decision="not enough evidence" if abstains or not decision else decision,
    )


def prediction_shift_guard(
    answers: Answers | Sequence[Answers],
    margin: float,
    standard: Standard = STANDARD,
    *,
    guards: int = GUARDS + 1,
    windows: int = 1,
) -> GuardVerdict:
    """Test that the distribution functions of both revisions' predictions differ by at most `margin` at every cut.

    Give one Answers for each step if the split changes between them, and the plan's steps as `windows`. `guards` is how
    many guards share alpha. Each cut is two proportions against each other in both directions: the mean is evidence of
    a shift, the least is evidence of none.
    """
    import numpy as np

    steps = [answers] if isinstance(answers, Answers) else list(answers)
    windows = max(windows, len(steps))
    moved, same = np.ones((2, len(steps)))
    for at, seen in enumerate(steps):
        if seen.cuts:
            canary = (np.array(seen.canary), np.array(seen.canary_below))
            baseline = (np.array(seen.baseline), np.array(seen.baseline_below))
            more, less = evidence_apart(canary, baseline, margin), evidence_apart(baseline, canary, margin)
            moved[at], same[at] = np.mean([more[0], less[0]]), np.min([more[1], less[1]])
    largest = max(steps, key=lambda seen: seen.shift, default=Answers())
    total = sum(seen.canary for seen in steps)
    evidence = (float(mean_over(same, windows)), float(mean_over(moved, windows)) / guards)
    return guard(PREDICTIONS, margin, (total, 0), largest.shift, evidence, standard)


def agreement_guard(
    compared: int, agreed: int, at_least: float, standard: Standard = STANDARD, *, guards: int = GUARDS + 1
) -> GuardVerdict:
    """Test that at least a share `at_least`, in (0, 1), of the mirrored copies got the baseline's answer."""
    bound, other = 1 - at_least, compared - agreed
    observed = other / compared if compared else 0.0
    evidence = (float(evidence_good(compared, other, bound)), float(evidence_bad(compared, other, bound)) / guards)
    return guard(AGREEMENT, bound, (compared, other), observed, evidence, standard)
