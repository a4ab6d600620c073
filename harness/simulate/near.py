"""Which of many rollouts may be near a verdict, at a tenth of the cost of the evidence.

The evidence of a mixture never exceeds the largest likelihood ratio, and the mean over windows never their largest: a
rollout whose ratios are below a threshold is not decided there.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.lifecycle.evidence import Arm, log_ceiling
from harness.lifecycle.guards import GUARDS, Standard, from_each_start
from harness.lifecycle.slo import SLO

Bools = npt.NDArray[np.bool_]


def near_roll_back(canary: Arm, baseline: Arm, slo: SLO, standard: Standard) -> Bools:
    """Where a roll back may be due; counts of shape (trials, errors or slow, steps)."""
    bound, least = np.array([[slo.errors], [slo.slow]]), log(GUARDS / standard.alpha)
    requests, bad = from_each_start(canary[0]), from_each_start(canary[1])
    near = _where(bad > bound * requests, lambda n, k, b: log_ceiling(n, k, b) >= least, requests, bad, bound)
    margin = bound * standard.margin_share
    apart = canary[1] * baseline[0] > (baseline[1] + margin * baseline[0]) * canary[0]
    near |= _where(apart & (baseline[0] > 0), lambda *arms: _apart(*arms) >= least, *canary, *baseline, margin)
    return np.asarray(near.any((-1, -2)))


def near_promotion(requests: Any, bad: Any, bound: npt.NDArray[np.float64], standard: Standard) -> Bools:
    """Where the counts, of shape (trials, errors or slow), may show that every proportion is below its bound."""
    inside = np.minimum(bound, 0.5)
    shown = (bad < inside * requests) & (log_ceiling(requests, bad, inside) >= -log(standard.beta))
    return np.asarray((shown | (bound > inside)).all(-1))


def _apart(requests: Any, bad: Any, others: Any, other_bad: Any, margin: Any) -> Any:
    """The ratio against one point on the null's edge, so at least the ratio against its best point."""
    p = (bad + other_bad + margin * others) / (requests + others)
    p = np.minimum(np.maximum(p, margin), 1.0)
    return log_ceiling(requests, bad, p) + log_ceiling(others, other_bad, p - margin)


def _where(chosen: Bools, found: Any, *arrays: Any) -> Bools:
    """The answer where it is asked for, and False elsewhere."""
    result = np.zeros(chosen.shape, bool)
    result[chosen] = found(*(np.broadcast_to(array, chosen.shape)[chosen] for array in arrays))
    return result
