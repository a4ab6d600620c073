"""Slices: a metric for a part of the rows, with an interval, so that a small slice is not judged by noise. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import ConfigError
from harness.lifecycle.checks._judging import ALPHA, EXAMPLES, require_count, require_number, require_text
from harness.report.record import CheckResult

if TYPE_CHECKING:
    from harness.lifecycle.evaluation import Array


Metric = tuple[float, float]
"""A metric with its standard error."""
Verdict = tuple[bool | None, float, float]
"""Whether the bound is kept (None: the rows cannot tell), and the bounds of the metric."""
Words = dict[str, str | float | list[str]]


@dataclass(frozen=True)
class Labelled:
    """Held-out rows of a slice: what came true, and what was predicted."""

    truth: Array
    predicted: Array


@dataclass(frozen=True)
class Slice:
    """A metric of a slice keeps its bound.

    where: the slice as a condition on the rows (pandas query); or by: a column, each of whose groups is a slice.
    metric: "auc" with at_least, "brier" or "rmse" with at_most.
    min_rows: a slice of fewer rows is named and not judged.
    Judged by bounds of the normal approximation with the metric's own standard error; each of k slices errs at most at
    alpha / k.
    """

    kind: ClassVar[str] = "slice"
    served: ClassVar[bool] = False

    where: str = ""
    by: str = ""
    metric: Literal["auc", "brier", "rmse"] = "auc"
    at_least: float | None = None
    at_most: float | None = None
    min_rows: int = 100
    alpha: float = ALPHA
    name: str = ""

    def __post_init__(self) -> None:
        if bool(self.where) == bool(self.by):
            raise ConfigError("slice: expected one of where (a condition) and by (a column)")
        require_text("slice.where" if self.where else "slice.by", self.where or self.by)
        if self.metric not in ("auc", "brier", "rmse"):
            raise ConfigError(f"slice.metric: expected auc, brier or rmse, got {self.metric!r}")
        bound, other = ("at_least", "at_most") if self.metric == "auc" else ("at_most", "at_least")
        if getattr(self, bound) is None or getattr(self, other) is not None:
            raise ConfigError(f"slice: {self.metric} is bounded by {bound}")
        require_number(f"slice.{bound}", getattr(self, bound), 0, math.inf if self.metric == "rmse" else 1)
        require_number("slice.alpha", self.alpha, 0, 0.5, above=True)
        require_count("slice.min_rows", self.min_rows)

    @property
    def label(self) -> str:
        part = f"where {self.where}" if self.where else f"by {self.by}"
        return self.name or f"{self.metric} {part}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.by,) if self.by else ()

    @property
    def bound(self) -> float:
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)

    def judge(self, observed: Mapping[str, Labelled]) -> CheckResult:
        """Whether each slice that is large enough keeps the bound; `observed`: slice -> its rows."""
        judged, left_out = {}, []
        for label, rows in observed.items():
            found = _metric(rows, self.metric) if len(rows.truth) >= self.min_rows else None
            if found is None:
                left_out.append(f"{label} ({len(rows.truth):,} rows)")
            else:
                judged[label] = found
        verdicts = {label: self._verdict(*found, len(judged)) for label, found in judged.items()}
        sides = [passed for passed, _, _ in verdicts.values()]
        passed = False if False in sides else None if None in sides or not sides else True
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=passed,
            **self._words(judged, verdicts, left_out),
            rows=sum(len(observed[label].truth) for label in judged),
            bad=sides.count(False),
            error_rate=self.alpha,
        )

    def _words(self, judged: Mapping[str, Metric], verdicts: Mapping[str, Verdict], left_out: list[str]) -> Words:
        above = self.metric == "auc"
        required = f"{'at least' if above else 'at most'} {self.bound:g}"
        details = [f"too small: {', '.join(left_out[:EXAMPLES])}"] if left_out else []
        if not judged:
            return {"observed": "not judged", "required": required, "detail": "; ".join(details) or "no row is in it"}
        undecided = [label for label, (passed, _, _) in verdicts.items() if passed is None]
        details += [f"too few rows to tell: {', '.join(undecided[:EXAMPLES])}"] if undecided else []
        order = sorted(judged, key=lambda label: judged[label][0], reverse=not above)
        shown = [f"{label}: {_figure(judged[label][0], *verdicts[label][1:])}" for label in order]
        _, low, high = verdicts[order[0]]
        return {
            "observed": f"{self.metric} {shown[0]}" if self.by else f"{self.metric} {shown[0].rpartition(': ')[2]}",
            "required": required,
            "detail": "; ".join(details),
            "low": low,
            "high": high,
            "examples": shown[:EXAMPLES] if self.by else [],
        }

    def _verdict(self, value: float, error: float, slices: int) -> Verdict:
        reach = NormalDist().inv_cdf(1 - self.alpha / slices) * error
        low, high = value - reach, value + reach
        if self.metric == "auc":
            return True if low >= self.bound else False if high < self.bound else None, low, high
        return True if high <= self.bound else False if low > self.bound else None, low, high


def _metric(rows: Labelled, name: str) -> Metric | None:
    """None if the rows have none, as the AUC of one class."""
    from harness.lifecycle.quality import metrics  # numpy: only where there are rows

    found = {each.name: each for each in metrics(rows.truth, rows.predicted)}
    return (found[name].value, found[name].standard_error) if name in found else None


def _figure(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
