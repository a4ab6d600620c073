"""What the requests of a capacity probe showed: which can be judged by now, and how many independent ones they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.lifecycle.slo import SLO

    Floats = NDArray[np.float64]

SETTLE_SHARE, SETTLE_S = 0.2, 1.0
BATCHES = (10, 20, 40)
NOTHING = 1e-9  # a variance that is rounding
CAREFUL = 1.25  # the variance of few means is itself uncertain


@dataclass(frozen=True)
class Answers:
    """The requests of a probe: when they were due, how long they took (ms; inf: no answer), which of them failed."""

    due_s: Floats
    latency_ms: Floats
    failed: NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """What a probe showed once it had settled. `withheld`: why its latencies say nothing about the server."""

    requests: int
    failed: int
    slow: int
    effective: float
    p50_ms: float
    p99_ms: float
    withheld: str = ""


def known(answers: Answers, now_s: float, bound_ms: float) -> Answers:
    """What can be said at a moment: of the requests that were due `bound_ms` before it, or earlier.

    Of those that were due later only the fast ones have ended. One that is still under way counts as failed and as
    slow: it may hang, and what hangs would otherwise not be seen until it gives up.
    """
    import numpy as np

    rows = answers.due_s <= now_s - bound_ms / 1000
    due, latency = answers.due_s[rows], answers.latency_ms[rows]
    away = due + latency / 1000 > now_s
    return Answers(due, np.where(away, np.inf, latency), answers.failed[rows] | away)


def settled(answers: Answers, slo: SLO, withheld: str = "") -> Seen:
    """What is judged: a probe without its beginning; its percentiles are of the requests that were answered."""
    import numpy as np

    last = float(answers.due_s.max()) if len(answers.due_s) else 0.0
    rows = answers.due_s >= max(SETTLE_S, SETTLE_SHARE * last)
    latency, failed = answers.latency_ms[rows], answers.failed[rows]
    if not len(latency):
        return Seen(0, 0, 0, 0.0, 0.0, 0.0, withheld)
    slow = latency > slo.slower_than_ms
    near = np.clip(
        latency, slo.slower_than_ms / 3, 2 * slo.slower_than_ms
    )  # what moves far from the bound is no matter
    told = [near, slow.astype(float), failed.astype(float)]
    alike = max(likeness(answers.due_s[rows], values) for values in told)
    answered = latency[np.isfinite(latency)]
    p50, p99 = np.percentile(answered, (50, 99)) if len(answered) else (nan, nan)
    return Seen(
        len(latency), int(failed.sum()), int(slow.sum()), len(latency) / alike, float(p50), float(p99), withheld
    )


def likeness(times: Floats, values: Floats) -> float:
    """How many requests tell as much as one independent one, at least 1: by the variance of means over time."""
    import numpy as np

    spread = float(values.var())
    if spread < NOTHING or len(values) < 2 * BATCHES[-1]:
        return 1.0
    span = float(times[-1] - times[0]) or 1.0
    found = 1.0
    for batches in BATCHES:
        which = np.minimum(((times - times[0]) / span * batches).astype(int), batches - 1)
        counts, sums = np.bincount(which, minlength=batches), np.bincount(which, values, batches)
        means = sums[counts > 0] / counts[counts > 0]
        found = max(found, CAREFUL * float(means.var(ddof=1)) * len(values) / batches / spread)
    return found
