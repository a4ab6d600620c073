"""The highest rate that keeps the SLO: a sequential search whose answer has a stated confidence.

Probes *seek* by doubling and then halving, each only as long as it takes to lean one way; they claim nothing. What they
found is *confirmed* by a longer probe that must show, by the e-values of harness.lifecycle.evidence, that the SLO is
kept: errors and slow requests each below their bound. At most CONFIRMS are tried, each lower than the one before it by
twice as many steps of the precision, and each may err with the CONFIRMS-th part of 1 - confidence; so the whole search
reports a rate that breaks the SLO with at most that probability, however often it looked (Ville 1939; Boole).

Near saturation the latencies of neighbours are alike, and n requests tell less than n independent ones. The evidence is
taken of `effective` requests: n over the largest ratio of the variance of batch means to what it is for independent
requests (batch means, Law and Carson 1979), over several batch lengths, for latencies and for bad requests alike
(harness.lifecycle.probe). It is estimated, so for alike requests the stated probability is not proved, but borne out by
tests/unit/test_capacity.py, on queues whose capacity is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import ConfigError
from harness.lifecycle.evidence import evidence_bad, evidence_good
from harness.lifecycle.slo import SLO, is_number
from harness.report.record import CapacityRecord, CapacityStep, GuardVerdict

if TYPE_CHECKING:
    from harness.lifecycle.probe import Seen

CONFIRMS = 4
LEAN = 20.0  # evidence at which a seeking probe has seen enough
LEAST_SEEK_S, LEAST_CONFIRM_S = 3.0, 8.0
START_S = 2.5  # what starting and ending a probe's load takes, for the budget
PACE = 0.8  # of what is needed: the pace is uneven
MOST_RPS = 20_000.0
Decision = Literal["kept", "broken", "open", "withheld"]


@dataclass(frozen=True)
class Search:
    """What is sought: between which rates, how near (a share), how sure, and in how many seconds altogether.

    A seeking probe takes at most `seek_s`; `confirm_s` is kept of the budget for a confirmation.
    """

    slo: SLO = field(default_factory=SLO)
    low_rps: float = 10.0
    high_rps: float = 2000.0
    precision: float = 0.05
    confidence: float = 0.99
    budget_s: float = 180.0
    seek_s: float = 6.0
    confirm_s: float = 20.0

    def __post_init__(self) -> None:
        limits = {"low_rps": (1.0, MOST_RPS), "high_rps": (1.0, MOST_RPS), "precision": (0.005, 1.0),
                  "confidence": (0.5, 0.9999), "budget_s": (30.0, 86_400.0), "seek_s": (LEAST_SEEK_S, 600.0),
                  "confirm_s": (LEAST_CONFIRM_S, 3600.0)}  # fmt: skip
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not (is_number(value) and least <= value <= most):
                raise ConfigError(f"capacity.{name}: expected a number from {least:g} to {most:g}, got {value!r}")
        if self.low_rps > self.high_rps:
            raise ConfigError(f"capacity.low_rps: {self.low_rps:g} is above high_rps, {self.high_rps:g}")
        if (needed := self.seek_s + self.confirm_s + 2 * START_S) > self.budget_s:
            raise ConfigError(f"capacity.budget_s: {self.budget_s:g} s is too short: two probes take {needed:g} s")

    @property
    def level(self) -> float:
        """The evidence that a confirmation must reach."""
        return CONFIRMS / (1 - self.confidence)


@dataclass(frozen=True)
class Probe:
    """What to try next: a rate, for at least and at most so long."""

    rate: float
    purpose: Literal["seek", "confirm"]
    least_s: float
    most_s: float


@dataclass(frozen=True)
class End:
    """What the search found; None where it found none, and the reason in words."""

    capacity_rps: float | None
    broken_rps: float | None
    reason: str


def judge(search: Search, purpose: str, seen: Seen) -> tuple[Decision, list[GuardVerdict]]:
    """Whether the SLO was kept at this rate; a seeking probe is content with less evidence."""
    level = search.level if purpose == "confirm" else LEAN
    guards = [
        _guard(name, bound, seen, bad, level)
        for name, bound, bad in (("errors", search.slo.errors, seen.failed), ("slow", search.slo.slow, seen.slow))
    ]
    if seen.withheld:
        return "withheld", guards
    if any(guard.decision == "roll back" for guard in guards):
        return "broken", guards
    return "kept" if all(guard.decision == "promote" for guard in guards) else "open", guards


def goes_on(search: Search, probe: Probe, seconds: float, decision: Decision, guards: Sequence[GuardVerdict]) -> bool:
    """Whether to look on: it is undecided, there is time, and at this pace the evidence would be enough by then.

    The log of the evidence grows with time; to give up early can only make the answer more careful.
    """
    if decision == "withheld" or seconds < probe.least_s:
        return decision != "broken" and seconds < probe.most_s
    if decision != "open" or seconds >= probe.most_s:
        return False
    weakest = log(max(min(guard.evidence_good for guard in guards), 1e-300))
    return probe.purpose == "seek" or weakest * probe.most_s / seconds > PACE * log(search.level)


def leans(step: CapacityStep) -> bool:
    """Whether a step speaks for its rate: by its decision, or, if it has none, by what it observed."""
    if step.decision == "open":
        return step.requests > 0 and all(guard.observed <= guard.bound for guard in step.guards)
    return step.decision == "kept"


def following(search: Search, steps: Sequence[CapacityStep], elapsed_s: float) -> Probe | End:
    """The next probe, or the end; a function of what was tried and of the time that it took."""
    if again := _once_more(search, steps, elapsed_s):
        return again
    kept = max((step.rate for step in steps if step.purpose == "seek" and leans(step)), default=None)
    broken = _lowest_not_kept(steps)
    confirms = [step for step in steps if step.purpose == "confirm"]
    if confirms and confirms[-1].decision == "kept":
        return End(confirms[-1].rate, broken, _words(search, steps, confirms[-1].rate))
    if kept is None and steps:
        return End(None, broken, _nothing(search, steps[0]))
    left_s = search.budget_s - elapsed_s
    if kept is None:
        return Probe(search.low_rps, "seek", LEAST_SEEK_S, search.seek_s)
    no_time = left_s < search.seek_s + search.confirm_s + 2 * START_S
    if confirms or no_time or _found(search, kept, broken):
        return _confirmation(search, confirms, kept, broken, left_s)
    rate = min(2 * kept, search.high_rps) if broken is None else sqrt(kept * broken)
    return Probe(round(rate, 2), "seek", LEAST_SEEK_S, search.seek_s)


def record(search: Search, service: str, steps: Sequence[CapacityStep], end: End, duration_s: float) -> CapacityRecord:
    """The search's entry in the run record."""
    return CapacityRecord(
        service=service,
        slo={"errors": search.slo.errors, "slower_than_ms": search.slo.slower_than_ms, "slow": search.slo.slow},
        confidence=search.confidence,
        precision=search.precision,
        low_rps=search.low_rps,
        high_rps=search.high_rps,
        budget_s=search.budget_s,
        duration_s=duration_s,
        steps=list(steps),
        capacity_rps=end.capacity_rps,
        broken_rps=end.broken_rps,
        reason=end.reason,
    )


def _guard(name: str, bound: float, seen: Seen, bad: int, level: float) -> GuardVerdict:
    share = seen.effective / seen.requests if seen.requests else 0.0
    counted, found = seen.requests * share, bad * share
    good, worse = float(evidence_good(counted, found, bound)), float(evidence_bad(counted, found, bound))  # type: ignore[arg-type]
    decision: Any = "roll back" if worse >= 2 * level else "promote" if good >= level else "not enough evidence"
    return GuardVerdict(
        guard=name,
        bound=bound,
        observed=bad / seen.requests if seen.requests else 0.0,
        requests=seen.requests,
        bad=bad,
        evidence_good=good,
        evidence_bad=worse,
        promote_at=level,
        roll_back_at=2 * level,
        decision=decision,
    )


def _once_more(search: Search, steps: Sequence[CapacityStep], elapsed_s: float) -> Probe | None:
    """A seeking probe that the generator spoilt is made once more: the machine may have been busy for a moment."""
    if not steps or steps[-1].purpose != "seek" or steps[-1].decision != "withheld":
        return None
    rate = steps[-1].rate
    spoilt = sum(step.rate == rate for step in steps) > 1
    no_time = search.budget_s - elapsed_s < 2 * search.seek_s + search.confirm_s + 2 * START_S
    return None if spoilt or no_time else Probe(rate, "seek", LEAST_SEEK_S, search.seek_s)


def _lowest_not_kept(steps: Sequence[CapacityStep]) -> float | None:
    """The last word on each rate counts."""
    last = {step.rate: step for step in steps}
    return min((rate for rate, step in last.items() if not leans(step)), default=None)


def _found(search: Search, kept: float, broken: float | None) -> bool:
    return kept >= search.high_rps if broken is None else broken / kept <= 1 + search.precision


def _confirmation(
    search: Search, confirms: Sequence[CapacityStep], kept: float, broken: float | None, left_s: float
) -> Probe | End:
    rate = kept / (1 + search.precision) ** (2 ** len(confirms) - 1)
    if len(confirms) >= CONFIRMS:
        return End(None, broken, f"none of {CONFIRMS} confirmations showed that the SLO is kept; see the steps")
    if left_s < LEAST_CONFIRM_S + START_S:
        return End(None, broken, "the time was up before a rate was confirmed; give more with --budget")
    most_s = max(search.confirm_s, left_s / 2)  # one that is kept ends earlier; one that is not leaves time for another
    return Probe(round(rate, 2), "confirm", LEAST_CONFIRM_S, max(LEAST_CONFIRM_S, min(most_s, left_s - START_S)))


def _nothing(search: Search, first: CapacityStep) -> str:
    if first.decision == "withheld":
        return f"the generator could not offer {search.low_rps:g} requests a second faithfully: {first.reason}"
    return f"{search.low_rps:g} requests a second already break the SLO, or nearly"


def _words(search: Search, steps: Sequence[CapacityStep], rate: float) -> str:
    sure = f"{rate:g} requests a second keep the SLO, with a confidence of {search.confidence:.4g}"
    above = [step for step in steps if not leans(step) and step.rate > rate]
    if not above:
        return f"{sure}; it is the highest rate that was to be tried"
    lowest = min(above, key=lambda step: step.rate)
    if lowest.decision == "withheld":
        return f"{sure}; {lowest.rate:g} was beyond the generator: {lowest.reason}"
    return f"{sure}; {lowest.rate:g} did not"
