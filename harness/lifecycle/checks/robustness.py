"""Robustness: what a model makes of values that nobody meant to send. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.errors import ConfigError
from harness.lifecycle.checks._judging import require_count, require_number, worst
from harness.lifecycle.signature import FLOATS, Column
from harness.report.record import CheckResult

NUMBERS: Mapping[str, Any] = {"missing": None, "zero": 0.0, "-1e12": -1e12, "1e12": 1e12, "1e300": 1e300}
TEXTS: Mapping[str, Any] = {"missing": None, "empty": "", "unknown": "never seen", "10,000 characters": "x" * 10_000}
ALL_MISSING = "every column missing"


@dataclass(frozen=True)
class Probe:
    """A row with a value that nobody meant to send, and what came of it.

    answer: the number; None if there is none. refused: a clean refusal, a 4xx when served. error: what else came.
    """

    change: str
    row: tuple[Any, ...]
    answer: float | None = None
    refused: bool = False
    error: str = ""


@dataclass(frozen=True)
class Robustness:
    """Missing, extreme and unknown values get a finite answer within `low` and `high`, or a clean refusal.

    Each column by itself, and all of them missing, in each of `rows` held-out rows; bounds that are left out are those
    of a probability for a classifier, and none otherwise. refusal: whether a refusal is an answer.
    served: a refusal is a 4xx; where no service answers, it is a ValueError of the model, which the server makes a 400.
    """

    kind: ClassVar[str] = "robustness"
    served: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    low: float | None = None
    high: float | None = None
    refusal: bool = True
    rows: int = 3
    name: str = ""

    def __post_init__(self) -> None:
        for key in ("low", "high"):
            if getattr(self, key) is not None:
                require_number(f"robustness.{key}", getattr(self, key), -math.inf, math.inf)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(f"robustness: low {self.low:g} is above high {self.high:g}")
        if not isinstance(self.refusal, bool):
            raise ConfigError(f"robustness.refusal: expected true or false, got {self.refusal!r}")
        require_count("robustness.rows", self.rows)

    @property
    def label(self) -> str:
        return self.name or "robust to missing and extreme values"

    def bounds(self, task: str) -> tuple[float, float]:
        """What an answer must lie in."""
        low, high = (0.0, 1.0) if task == "classification" else (-math.inf, math.inf)
        return low if self.low is None else self.low, high if self.high is None else self.high

    def judge(self, observed: Sequence[Probe], task: str) -> CheckResult:
        """Whether every probe was answered or refused as it may be."""
        low, high = self.bounds(task)
        broken = [words for probe in observed if (words := self._wrong(probe, low, high))]
        refused = sum(probe.refused for probe in observed)
        inside = f" in {low:g} to {high:g}" if math.isfinite(low) or math.isfinite(high) else ""
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=not broken if observed else None,
            observed=f"{len(broken)} of {len(observed)} probes wrong, {refused} refused",
            required=f"a finite answer{inside}" + (", or a refusal" if self.refusal else ""),
            rows=len(observed),
            bad=len(broken),
            examples=worst(broken),
        )

    def _wrong(self, probe: Probe, low: float, high: float) -> tuple[float, str] | None:
        """What is wrong with what came of a probe, the worst with the largest figure."""
        if probe.error:
            return 3.0, f"{probe.change}: {probe.error}"
        if probe.refused:
            return None if self.refusal else (1.0, f"{probe.change}: refused")
        if probe.answer is None or not math.isfinite(probe.answer):
            return 2.0, f"{probe.change}: answered {'nothing' if probe.answer is None else probe.answer}"
        if not low <= probe.answer <= high:
            return 1.0, f"{probe.change}: answered {probe.answer:g}"
        return None


def probes(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> Iterator[Probe]:
    """Each row with each column's value replaced by each value that nobody meant to send."""
    for row in rows:
        for at, column in enumerate(columns):
            values = NUMBERS if column.kind in FLOATS else TEXTS if column.kind == "string" else {"missing": None}
            for words, value in values.items():
                yield Probe(f"{column.name} {words}", (*row[:at], value, *row[at + 1 :]))
        yield Probe(ALL_MISSING, (None,) * len(row))
