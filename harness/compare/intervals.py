"""Intervals for what a load showed, and for the ratio of two loads, where requests are not independent.

Requests that are near in time share a stall, a full queue, a busy machine. So a load is cut into batches of time, and
the spread of the batches tells how many independent requests all of them are worth (Kish 1965, "Survey Sampling": the
design effect). Korn and Graubard (1998, "Confidence intervals for proportions with small expected number of positive
counts estimated from survey data") shrink that number once more for the few batches that the spread is known from. The
intervals are exact for so many independent requests: order statistics for a quantile, Clopper and Pearson (1934) for a
share, Przyborowski and Wilenski (1940) for the ratio of two rare shares.

The ratio of two quantities has the limits of Zou and Donner (2008, "Construction of confidence limits about effect
measures"), on the logarithms: they need each one's interval alone, and no formula for its shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = Sequence[int] | NDArray[Any]


@dataclass(frozen=True)
class Interval:
    """What was observed, and the bounds that hold the true value; a bound may be 0 or inf where nothing bounds it."""

    observed: float
    low: float
    high: float


def effective(hits: Counts, sizes: Counts, alpha: float) -> float:
    """How many independent requests the batches are worth for the share of `hits`; at most all of them."""
    import numpy as np
    from scipy import stats

    found, size = np.asarray(hits, float), np.asarray(sizes, float)
    total, batches = size.sum(), len(size)
    if batches < 2 or not total:
        return 0.0
    share = found.sum() / total
    spread = ((found - share * size) ** 2).sum() * batches / (batches - 1)
    alone = share * (1 - share) * total
    design = max(1.0, spread / alone) if alone else 1.0
    tails = stats.norm.isf(alpha / 2) / stats.t.isf(alpha / 2, batches - 1)
    return float(total / design * tails**2)


def quantile(batches: Sequence[NDArray[Any]], share: float, alpha: float) -> Interval:
    """A quantile of the pooled values: the order statistics that hold it but with probability alpha."""
    import numpy as np
    from scipy import stats

    values = np.sort(np.concatenate(batches)) if batches else np.zeros(0)
    if not len(values):
        return Interval(math.nan, 0.0, math.inf)
    observed = float(values[max(0, math.ceil(share * len(values)) - 1)])
    worth = int(effective([int((each <= observed).sum()) for each in batches], [len(each) for each in batches], alpha))
    if not worth:
        return Interval(observed, 0.0, math.inf)
    below, above = stats.binom.ppf((alpha / 2, 1 - alpha / 2), worth, share)
    first = math.floor((below - 1) / worth * len(values))  # of all values, as far down as `below` is of the worth
    last = math.ceil((above + 1) / worth * len(values))
    return Interval(
        observed,
        float(values[first]) if below >= 1 else 0.0,
        float(values[last - 1]) if above + 1 <= worth else math.inf,
    )


def share(hits: Counts, sizes: Counts, alpha: float) -> Interval:
    """A share of the requests in [0, 1]."""
    from scipy import stats

    total = sum(sizes)
    if not total:
        return Interval(math.nan, 0.0, 1.0)
    observed, worth = sum(hits) / total, effective(hits, sizes, alpha)
    good = observed * worth
    low = float(stats.beta.ppf(alpha / 2, good, worth - good + 1)) if good > 0 else 0.0
    high = float(stats.beta.isf(alpha / 2, good + 1, worth - good)) if good < worth else 1.0
    return Interval(observed, low, high)


def ratio(before: Interval, after: Interval) -> Interval:
    """after / before of two positive quantities that were observed apart."""
    if not before.observed > 0 or not after.observed > 0:
        return Interval(math.nan, 0.0, math.inf)
    middle = math.log(after.observed / before.observed)
    down = math.hypot(_log(after.observed, after.low), _log(before.high, before.observed))
    up = math.hypot(_log(after.high, after.observed), _log(before.observed, before.low))
    return Interval(math.exp(middle), math.exp(middle - down), _exp(middle + up))


def ratio_of_rare(before: tuple[Counts, Counts], after: tuple[Counts, Counts], alpha: float) -> Interval:
    """The ratio of two shares of rare events, each as (hits, sizes) of the batches: exact, given how many there were.

    Of all events a share falls into the second load that says what the ratio is; the events count as so many
    independent ones.
    """
    from scipy import stats

    worth = [effective(*each, alpha) for each in (before, after)]
    seen = [sum(hits) / (sum(sizes) or 1) for hits, sizes in (before, after)]
    if not all(worth):
        return Interval(math.nan, 0.0, math.inf)
    events = [rate * size for rate, size in zip(seen, worth, strict=True)]
    scale = worth[0] / worth[1]
    low = float(stats.beta.ppf(alpha / 2, events[1], events[0] + 1)) if events[1] else 0.0
    high = float(stats.beta.isf(alpha / 2, events[1] + 1, events[0])) if events[0] else 1.0
    observed = seen[1] / seen[0] if seen[0] else math.inf if seen[1] else math.nan
    return Interval(observed, low / (1 - low) * scale, high / (1 - high) * scale if high < 1 else math.inf)


def next_share(hits: Counts, sizes: Counts, size: int, alpha: float) -> tuple[float, float]:
    """Where the share of rare events of one further batch lies but with probability alpha; all batches alike.

    Of all events a part falls into the further batch that its size says: the interval has the numbers of events that
    do not contradict it (Nelson 1970, "Confidence intervals for the ratio of two Poisson means and Poisson predictor
    intervals"). Batches that differ by more than chance count as fewer requests.
    """
    from scipy import special

    total, worth = sum(sizes), effective(hits, sizes, alpha)
    if not worth or not size:
        return 0.0, 1.0
    events, further = sum(hits) / total * worth, size / total * worth
    part = size / (size + total)
    low = float(special.btdtria(1 - alpha / 2, events, part)) - 1 if events else 0.0
    high = float(special.btdtria(alpha / 2, events + 1, part))
    return max(0.0, low / further), min(1.0, high / further)


def _log(more: float, less: float) -> float:
    return math.inf if math.isinf(more) or less <= 0 else math.log(more / less)


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)
