"""Two runs side by side: for each load that both have, which differences are real, and which break a budget.

All intervals of a comparison hold together: each has its part of the error rate (Bonferroni), so that if nothing
differs the comparison says so of anything with at most that probability, and if nothing is beyond the budget it fails
with at most that probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from harness.compare import intervals
from harness.compare.intervals import Interval
from harness.compare.sample import Key, Sample
from harness.report.store import finite

ERROR_RATE = 1e-3
BUDGET = 0.1
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
FAILED, ANSWERED = "failed", "answered well"
METRICS = (FAILED, ANSWERED, *QUANTILES)


class Verdict(StrEnum):
    """What is said of one difference."""

    WORSE = "worse"
    BETTER = "better"
    NOT_SHOWN = "no difference shown"
    WITHHELD = "withheld"


class Outcome(StrEnum):
    """What is said of the whole comparison; the first that is so."""

    REGRESSION = "regression"
    INCOMPLETE = "incomplete"
    NO_VERDICT = "no verdict"
    NO_REGRESSION = "no regression"


class Budget(StrEnum):
    """What is said of one budget."""

    KEPT = "kept"
    BROKEN = "broken"
    OPEN = "open"


@dataclass(frozen=True)
class Row:
    """One quantity of one load in both runs, and the interval that holds after / before.

    `unit` is "ms", "share" or "1/s"; `note` says why nothing is said, or what weakens it.
    """

    load: str
    metric: str
    unit: str
    before: float
    after: float
    ratio: Interval
    verdict: Verdict = Verdict.NOT_SHOWN
    budget: Budget = Budget.OPEN
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All rows; `alone` are loads that one of the runs has, with which one."""

    rows: tuple[Row, ...]
    budget: float
    error_rate: float
    alone: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def of(self, verdict: Verdict) -> list[Row]:
        """The rows with a verdict."""
        return [row for row in self.rows if row.verdict is verdict]

    @property
    def broken(self) -> list[Row]:
        """The rows that are worse by more than the budget."""
        return [row for row in self.rows if row.budget is Budget.BROKEN]

    @property
    def lacking(self) -> list[str]:
        """The loads of the run to measure by that the other one has not."""
        return [load for load, where in self.alone.items() if where == "A"]

    @property
    def outcome(self) -> Outcome:
        """Only "no regression" is a pass: what was not offered again, or cannot be judged, may hide one."""
        if self.broken:
            return Outcome.REGRESSION
        if self.lacking:
            return Outcome.INCOMPLETE
        silent = all(row.verdict is Verdict.WITHHELD for row in self.rows)
        return Outcome.NO_VERDICT if silent else Outcome.NO_REGRESSION

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.NO_REGRESSION

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts; what nothing bounds is null."""
        data: dict[str, Any] = finite({"passed": self.passed, "outcome": self.outcome.value, **asdict(self)})
        return data


def compare(
    before: Mapping[Key, Sample], after: Mapping[Key, Sample], *, budget: float = BUDGET, error_rate: float = ERROR_RATE
) -> Comparison:
    """Each load of both runs by its name; runs with one load each are compared whatever those are called."""
    if len(before) == len(after) == 1:
        after = dict(zip(before, after.values(), strict=True))
    both = [key for key in before if key in after]
    alpha = error_rate / max(1, len(both) * len(METRICS))
    found = [row for key in both for row in _rows(before[key], after[key], alpha)]
    alone = {_named(key): where for one, other, where in ((before, after, "A"), (after, before, "B"))
             for key in one if key not in other}  # fmt: skip
    notes = [note for key in both for note in _offers(before[key], after[key])]
    return Comparison(tuple(judged(row, budget) for row in found), budget, error_rate, alone, tuple(notes))


def judged(row: Row, budget: float) -> Row:
    """The row with its verdicts; `budget` is the share by which a quantity may get worse."""
    if row.verdict is Verdict.WITHHELD:
        return row
    low, high, limit = row.ratio.low, row.ratio.high, 1 + budget
    if row.metric == ANSWERED:  # less is worse
        low, high, limit = _inverse(high), _inverse(low), _inverse(1 - budget)
    verdict = Verdict.WORSE if low > 1 else Verdict.BETTER if high < 1 else Verdict.NOT_SHOWN
    kept = Budget.BROKEN if low > limit else Budget.KEPT if high <= limit else Budget.OPEN
    return replace(row, verdict=verdict, budget=kept)


def _rows(before: Sample, after: Sample, alpha: float) -> Iterator[Row]:
    short = before.short or after.short
    pair = (before.failed, before.requests), (after.failed, after.requests)
    seen = [sum(hits) / sum(sizes) for hits, sizes in pair]
    yield _row(before, FAILED, "share", (seen[0], seen[1]), intervals.ratio_of_rare(*pair, alpha), short)
    yield _answered(before, after, alpha, short)
    late = short or _distrust(before, after)
    for metric, share in QUANTILES.items():
        one, other = (intervals.quantile(each.latencies_ms, share, alpha) for each in (before, after))
        yield _row(before, metric, "ms", (one.observed, other.observed), intervals.ratio(one, other), late)


def _answered(before: Sample, after: Sample, alpha: float, short: str) -> Row:
    """The rate of good answers: what was offered is known, which share of it was answered well has an interval."""
    rates = [
        _scaled(intervals.share(each.requests - each.failed, each.requests, alpha), each.offered_rps)
        for each in (before, after)
    ]
    return _row(before, ANSWERED, "1/s", (rates[0].observed, rates[1].observed), intervals.ratio(*rates), short)


def _row(load: Sample, metric: str, unit: str, seen: tuple[float, float], ratio: Interval, withheld: str) -> Row:
    verdict = Verdict.WITHHELD if withheld else Verdict.NOT_SHOWN
    unbounded = "" if withheld or (ratio.low > 0 and ratio.high < math.inf) else "too few requests to bound it"
    if metric == FAILED and not any(seen):
        unbounded = "none failed"
    return Row(load.name, metric, unit, *seen, ratio, verdict=verdict, note=withheld or unbounded)


def _distrust(before: Sample, after: Sample) -> str:
    found = [f"{side}: {each.distrust}" for side, each in (("A", before), ("B", after)) if each.distrust]
    return f"latencies are not to be trusted in {'; '.join(found)}" if found else ""


def _offers(before: Sample, after: Sample) -> Iterator[str]:
    rates = before.offered_rps, after.offered_rps
    if abs(math.log(rates[1] / rates[0])) > 0.1:
        yield (
            f"{before.name}: A was offered {rates[0]:.4g} requests a second and B {rates[1]:.4g}, "
            "so their latencies are of different loads"
        )


def _scaled(interval: Interval, by: float) -> Interval:
    return Interval(interval.observed * by, interval.low * by, interval.high * by)


def _inverse(value: float) -> float:
    return math.inf if value <= 0 else 1 / value


def _named(key: Key) -> str:
    name, number = key
    return name if not number else f"{name} ({number + 1})"
