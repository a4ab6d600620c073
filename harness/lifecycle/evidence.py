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

**A split.** The mixture likelihood of an arm's requests over their likelihood at the configured weight is a martingale
under that weight, so it may end whenever the rollout likes: a step's end depends on the canary's count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp, inf, lgamma, log, log1p

Arm = tuple[int, int]  # requests, and those of them that were bad

# (bet q as a share of the bound, weight). Most weight is on "no request is bad", the usual canary: it costs 3 % more
# requests than knowing so. The rest covers canaries that are better than the bound, but not flawless.
GOOD_BETS = ((0.0, 0.8), *((share, 0.025) for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)))
# (bet q as a share of the way from the bound to 1, weight): from slightly worse to always bad.
BAD_BETS = tuple((2.0**-power, 0.1) for power in range(10))
LARGEST = 1e300  # evidence goes to JSON, which has no infinity


def evidence_good(requests: int, bad: int, bound: float) -> float:
    """The e-value against "the proportion is at least `bound`"; nothing is at a bound above 1, so that is refuted."""
    if bound >= 1:
        return LARGEST
    return _mixture(requests, bad, bound, ((share * bound, weight) for share, weight in GOOD_BETS))


def evidence_bad(requests: int, bad: int, bound: float) -> float:
    """The e-value against "the proportion is at most `bound`", for a bound in (0, 1)."""
    return _mixture(requests, bad, bound, ((bound + share * (1 - bound), weight) for share, weight in BAD_BETS))


def evidence_worse(canary: Arm, baseline: Arm, margin: float) -> float:
    """The e-value against "the canary's proportion is at most the baseline's + margin", for a margin in (-1, 1).

    With the arms exchanged and -margin it is the evidence against "the canary is worse by at least the margin".
    """
    mixture = _log_krichevsky_trofimov(*canary) + _log_krichevsky_trofimov(*baseline)
    return _bounded(mixture - _largest_log_likelihood(canary, baseline, margin))


def requests_needed(bound: float, beta: float = 1e-3, *, requests: int = 0, bad: int = 0) -> int:
    """How many further requests, all good, show that a proportion is below `bound`, given the counts so far."""

    def shown(further: int) -> bool:
        return evidence_good(requests + further, bad, bound) >= 1 / beta

    if shown(0):
        return 0
    enough = 1
    while not shown(enough):
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if shown(middle) else (middle, enough)
    return enough


def evidence_other(requests: int, hits: int, p: float) -> float:
    """The e-value against "the proportion is exactly p", for p in (0, 1), with the Beta(1/2, 1/2) mixture."""
    return _bounded(_log_krichevsky_trofimov(requests, hits) - _log_likelihood(requests, hits, p))


def _mixture(requests: int, bad: int, bound: float, bets: Iterable[tuple[float, float]]) -> float:
    null = _log_likelihood(requests, bad, bound)
    return _bounded(_log_sum_exp([log(weight) + _log_likelihood(requests, bad, q) - null for q, weight in bets]))


def _log_likelihood(requests: int, bad: int, p: float) -> float:
    good = requests - bad
    of_bad = 0.0 if bad == 0 else bad * log(p) if p > 0 else -inf
    of_good = 0.0 if good == 0 else good * log1p(-p) if p < 1 else -inf
    return of_bad + of_good


def _log_sum_exp(terms: Sequence[float]) -> float:
    largest = max(terms)
    return -inf if largest == -inf else largest + log(sum(exp(term - largest) for term in terms))


def _bounded(log_evidence: float) -> float:
    return LARGEST if log_evidence >= log(LARGEST) else exp(log_evidence)


def _log_krichevsky_trofimov(requests: int, bad: int) -> float:
    """log of the Beta(1/2, 1/2) mixture of p^bad (1-p)^(requests-bad)."""
    return lgamma(bad + 0.5) + lgamma(requests - bad + 0.5) - lgamma(requests + 1) - 2 * lgamma(0.5)


def _largest_log_likelihood(canary: Arm, baseline: Arm, margin: float) -> float:
    """The largest log-likelihood of both arms among canary p <= baseline p + margin."""
    arms = [arm for arm in (canary, baseline) if arm[0]]
    if len(arms) < 2 or canary[1] / canary[0] <= baseline[1] / baseline[0] + margin:
        return sum(_log_likelihood(*arm, arm[1] / arm[0]) for arm in arms)

    def on_edge(p: float) -> float:
        return _log_likelihood(*canary, min(1.0, max(0.0, p + margin))) + _log_likelihood(*baseline, p)

    # The likelihood is concave and its peak lies outside the null, so the null's best point is on its edge.
    return _maximum(on_edge, max(0.0, -margin), min(1.0, 1.0 - margin))


def _maximum(concave: Callable[[float], float], low: float, high: float) -> float:
    """The maximum of a concave function by golden-section search (Kiefer 1953), the ends included."""
    golden = (5**0.5 - 1) / 2
    best = max(concave(low), concave(high))
    while high - low > 1e-9:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (left, high) if concave(left) < concave(right) else (low, right)
    return max(best, concave((low + high) / 2))
