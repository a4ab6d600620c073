"""Evidence about proportions from cumulative counts: e-values that may be looked at after every request.

An e-process is nonnegative and has expectation at most 1 under its null hypothesis at every stopping time. By Ville's
inequality (Ville 1939) it ever reaches 1/alpha with probability at most alpha under the null, so peeking is free.

**One proportion against a bound b.** The likelihood ratio of k bad of n at q against b, (q/b)^k ((1-q)/(1-b))^(n-k), is
the wealth of a bettor (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"). Its
factor has expectation p q/b + (1-p)(1-q)/(1-b), which is linear in p and is 1 at p = b; so for q < b it is at most 1
for every p >= b, and for q > b for every p <= b. A mixture over fixed q with weights that add up to 1 is an e-process
too (Robbins 1970, "Statistical methods related to the law of the iterated logarithm"): GOOD_BETS and BAD_BETS.

**Two proportions and a margin.** The null "the canary's p is at most the baseline's plus a margin" is composite. The
mixture likelihood of both arms (Beta(1/2, 1/2) each; Krichevsky and Trofimov 1981) over the largest likelihood that
the null allows is at most that mixture over the true likelihood, a martingale: universal inference (Wasserman, Ramdas
and Balakrishnan 2020). It needs that a request's arm is chosen without knowing its outcome, and that neither p changes
while the split does: pooled over two splits, equal arms whose p moved look different (Simpson's paradox). So it holds
within one step of a rollout, and the mean over the steps' e-values is the evidence of the whole.

The largest likelihood on the null's edge is Farrington and Manning's closed form (1990, "Test statistics and sample
size formulae for comparative binomial trials with null hypothesis of non-zero risk difference or non-unity relative
risk").

**A split.** The mixture likelihood of an arm's requests over their likelihood at the configured weight is a martingale
under that weight, so it may end whenever the rollout likes: a step's end depends on the canary's count.

Every function takes numbers, or arrays that broadcast, and returns the same; numpy is imported at the first use.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import log, pi
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Counts = int | npt.NDArray[np.int64]
    Numbers = float | npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float64]

Arm = tuple["Counts", "Counts"]  # requests, and those of them that were bad

# (bet q as a share of the bound, weight). Most weight is on "no request is bad", the usual canary: it costs 3 % more
# requests than knowing so. The rest covers canaries that are better than the bound, but not flawless.
GOOD_BETS = ((0.0, 0.8), *((share, 0.025) for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)))
# (bet q as a share of the way from the bound to 1, weight): from slightly worse to always bad.
BAD_BETS = tuple((2.0**-power, 0.1) for power in range(10))
LARGEST = 1e300  # evidence goes to JSON, which has no infinity
_NEVER = -1e12  # log of 0 that may be multiplied by a count of 0
_LEAST = 1e-100  # its power of 3/2 is a number too


def evidence_good(requests: Counts, bad: Counts, bound: Numbers) -> Any:
    """The e-value against "the proportion is at least `bound`"; nothing is at a bound above 1, so that is refuted."""
    import numpy as np

    possible = np.asarray(bound) < 1
    evidence = _mixture("good", requests, bad, np.where(possible, bound, 0.5))
    return np.where(possible, evidence, LARGEST)[()]


def evidence_bad(requests: Counts, bad: Counts, bound: Numbers) -> Any:
    """The e-value against "the proportion is at most `bound`", for a bound in (0, 1)."""
    import numpy as np

    return _mixture("bad", requests, bad, np.asarray(bound))[()]


def evidence_apart(canary: Arm, baseline: Arm, margin: Numbers) -> tuple[Any, Any]:
    """The e-values against "the canary's proportion is at most the baseline's + margin", and against "at least".

    The margin is in (-1, 1). Both have the same mixture, and the same best point on the edge between them.
    """
    import numpy as np

    mixture = _log_krichevsky_trofimov(*canary) + _log_krichevsky_trofimov(*baseline)
    seen, other = _observed(canary), _observed(baseline)
    peak = _log_likelihood(*canary, seen) + _log_likelihood(*baseline, other)
    edge = _on_edge(canary, baseline, seen, other, margin)
    # The likelihood is concave: if its peak lies outside a null, the null's best point is on the edge.
    both = np.minimum(canary[0], baseline[0]) > 0
    worse = seen > other + margin
    at_most, at_least = _bounded(mixture - np.where([both & worse, both & ~worse], edge, peak))
    return at_most, at_least


def evidence_worse(canary: Arm, baseline: Arm, margin: Numbers) -> Any:
    """The e-value against "the canary's proportion is at most the baseline's + margin", for a margin in (-1, 1)."""
    return evidence_apart(canary, baseline, margin)[0]


def evidence_other(requests: Counts, hits: Counts, p: Numbers) -> Any:
    """The e-value against "the proportion is exactly p", for p in (0, 1), with the Beta(1/2, 1/2) mixture."""
    return _bounded(_log_krichevsky_trofimov(requests, hits) - _log_likelihood(requests, hits, p))


def log_ceiling(requests: Counts, bad: Counts, p: Numbers) -> Any:
    """The log of the largest likelihood ratio against p in (0, 1): the evidence of no mixture against p exceeds it."""
    seen = _observed((requests, bad))
    return _log_likelihood(requests, bad, seen) - _log_likelihood(requests, bad, p)


def effect(baseline: Arm, canary: Arm, *, alpha: float = 1e-3) -> tuple[float, float, float]:
    """The difference of two proportions (canary - baseline) and an interval that holds it at all times at once.

    The interval has the margins that evidence_apart does not refute at 1 / alpha. Its likelihoods on the two sides of
    a margin are one e-process on the edge, so the true difference ever falls out with probability at most `alpha`.
    """
    import numpy as np

    seen = float(_observed(canary) - _observed(baseline))
    if min(canary[0], baseline[0]) == 0:
        return seen, -1.0, 1.0
    inside, outside = np.array([seen, seen]), np.array([-1.0, 1.0])
    for _ in range(50):  # halvings, 2^-50 is beyond what counts can tell
        middle = (inside + outside) / 2
        refuted = np.max(evidence_apart(canary, baseline, middle), 0) >= 1 / alpha
        inside, outside = np.where(refuted, inside, middle), np.where(refuted, middle, outside)
    return seen, float(outside[0]), float(outside[1])


def requests_needed(bound: Numbers, beta: float = 1e-3, *, requests: Counts = 0, bad: Counts = 0) -> Any:
    """How many further requests, all good, show that a proportion is below `bound`, given the counts so far."""
    import numpy as np

    needed = np.asarray(bound) < 1
    bound, requests, bad = np.broadcast_arrays(np.where(needed, bound, 0.5), requests, bad)
    low, high = _bracket(bound, beta, requests, bad)
    parts = np.arange(1, 65)
    while np.any(high - low > 1):  # more good requests are more evidence, so 64 numbers at once are six halvings
        further = low[..., None] + -(-(high - low)[..., None] * parts // 64)
        shown = evidence_good(requests[..., None] + further, bad[..., None], bound[..., None]) >= 1 / beta
        first = np.argmax(shown, -1)[..., None]
        high = np.take_along_axis(further, first, -1)[..., 0]
        low = np.where(first[..., 0] > 0, np.take_along_axis(further, np.maximum(first - 1, 0), -1)[..., 0], low)
    return np.where(needed, high, 0)[()]


def _bracket(bound: Floats, beta: float, requests: Counts, bad: Counts) -> tuple[Any, Any]:
    """Further good requests that are too few, and that are enough: the best bet alone, and with its weight."""
    import numpy as np

    if_bad, if_good = _log_ratios("good", bound)
    missing = -log(beta) - bad * if_bad - (requests - bad) * if_good
    too_few = (missing / if_good).min(0)
    many = ((missing - _ahead(_bets("good")[1], bound)) / if_good).min(0)
    low = np.maximum(np.floor(too_few).astype(np.int64) - 1, -1)
    return low, np.maximum(np.ceil(many).astype(np.int64) + 1, low + 1)


@cache
def _bets(side: str) -> tuple[Floats, Floats]:
    """The bets as shares, and the logs of their weights."""
    import numpy as np

    shares, weights = zip(*(GOOD_BETS if side == "good" else BAD_BETS), strict=True)
    return np.array(shares), np.log(weights)


def _ahead(bets: Floats, like: npt.NDArray[Any]) -> Floats:
    """The bets with as many axes behind their own as `like` has."""
    return bets.reshape(-1, *(1,) * like.ndim)


def _mixture(side: str, requests: Counts, bad: Counts, bound: Floats) -> Floats:
    """The weighted mean over the bets of the likelihood ratio against the bound."""
    import numpy as np

    if_bad, if_good = _log_ratios(side, bound)
    bad = np.asarray(bad)
    good = requests - bad
    axes = (slice(None), *(None,) * (good.ndim - bound.ndim), ...)
    log_weights = _ahead(_bets(side)[1], good)
    ratios = np.exp(np.minimum(bad * if_bad[axes] + good * if_good[axes] + log_weights, log(LARGEST)))
    return np.asarray(np.minimum(np.add.reduce(ratios), LARGEST))


def _log_ratios(side: str, bound: Floats) -> tuple[Floats, Floats]:
    """What one bad and one good request add to the log of each bet's likelihood ratio against the bound, bets first."""
    if bound.size <= 8:  # a rollout asks for the same bounds at every look
        return _few_log_ratios(side, bound.shape, tuple(bound.ravel().tolist()))
    return _many_log_ratios(side, bound)


@lru_cache(maxsize=256)
def _few_log_ratios(side: str, shape: tuple[int, ...], bounds: tuple[float, ...]) -> tuple[Floats, Floats]:
    import numpy as np

    return _many_log_ratios(side, np.array(bounds).reshape(shape))


def _many_log_ratios(side: str, bound: Floats) -> tuple[Floats, Floats]:
    import numpy as np

    shares = _ahead(_bets(side)[0], bound)
    bets = shares * bound if side == "good" else bound + shares * (1 - bound)
    with np.errstate(divide="ignore"):
        if_bad, if_good = np.log(bets / bound), np.log1p(-bets) - np.log1p(-bound)
    return np.maximum(if_bad, _NEVER), np.maximum(if_good, _NEVER)


def _log_likelihood(requests: Counts, bad: Counts, p: Numbers) -> Any:
    from scipy.special import xlog1py, xlogy

    return xlogy(bad, p) + xlog1py(requests - bad, -p)


def _bounded(log_evidence: Floats) -> Any:
    import numpy as np

    return np.minimum(np.exp(np.minimum(log_evidence, log(LARGEST))), LARGEST)[()]


def _log_krichevsky_trofimov(requests: Counts, bad: Counts) -> Any:
    """log of the Beta(1/2, 1/2) mixture of p^bad (1-p)^(requests-bad)."""
    from scipy.special import betaln

    return betaln(bad + 0.5, requests - bad + 0.5) - log(pi)


def _on_edge(canary: Arm, baseline: Arm, seen: Floats, other: Floats, margin: Numbers) -> Any:
    """The largest log-likelihood of both arms among canary p = baseline p + margin (Farrington and Manning 1990)."""
    import numpy as np

    ratio = np.maximum(baseline[0], 1) / np.maximum(canary[0], 1)
    a = 1 + ratio
    b = -(1 + ratio + seen + ratio * other + margin * (ratio + 2))
    c = margin * margin + margin * (2 * seen + ratio + 1) + seen + ratio * other
    d = -seen * margin * (1 + margin)
    third = b / (3 * a)
    v = third**3 - b * c / (6 * a * a) + d / (2 * a)
    u = np.copysign(np.sqrt(np.maximum(third * third - c / (3 * a), _LEAST)), v)
    angle = (pi + np.arccos(np.minimum(np.maximum(v / u**3, -1), 1))) / 3
    # Rounding must not leave the null, nor what lies between both observed shares.
    ends = np.minimum(other, seen - margin), np.maximum(other, seen - margin)
    p = 2 * u * np.cos(angle) - third - margin
    low, high = np.maximum(ends[0], np.maximum(-margin, 0)), np.minimum(ends[1], 1 - np.maximum(margin, 0))
    p = np.minimum(np.maximum(p, low), high)
    return _log_likelihood(*canary, p + margin) + _log_likelihood(*baseline, p)


def _observed(arm: Arm) -> Floats:
    import numpy as np

    return np.asarray(arm[1] / np.maximum(arm[0], 1))
