"""Behavioural tests of a model (Ribeiro et al. 2020, "Beyond Accuracy"): invariance, direction, minimum functionality.

Each check is frozen data with a pure judgement over what was observed; harness.lifecycle.checks.job observes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from harness.errors import ConfigError
from harness.lifecycle.checks._judging import (
    ALPHA,
    EXAMPLES,
    ShareVerdict,
    percent,
    require_count,
    require_number,
    require_text,
    too_few,
    worst,
)
from harness.report.record import CheckResult


@dataclass(frozen=True)
class Moved:
    """What a model answers to a row before and after a column was changed, and the change in words."""

    before: float
    after: float
    change: str

    @property
    def words(self) -> str:
        return f"{self.change}: {self.before:.4f} became {self.after:.4f}"


@dataclass(frozen=True)
class Invariance:
    """A column that must not matter: changing it leaves each answer within `tolerance`.

    The column's values are shuffled among the rows, or set to each of `values` in turn; at most a share `at_most` of
    the rows may answer otherwise. A column that is no input of the model passes: it cannot matter.
    """

    kind: ClassVar[str] = "invariance"
    served: ClassVar[bool] = False

    column: str
    values: tuple[Any, ...] = ()
    tolerance: float = 1e-9
    at_most: float = 0.0
    rows: int = 1_000
    alpha: float = ALPHA
    name: str = ""

    def __post_init__(self) -> None:
        require_text("invariance.column", self.column)
        if not isinstance(self.values, tuple):
            raise ConfigError(f"invariance.values: expected a list of values, got {self.values!r}")
        require_number("invariance.tolerance", self.tolerance, 0, math.inf)
        require_number("invariance.at_most", self.at_most, 0, 1)
        require_number("invariance.alpha", self.alpha, 0, 0.5, above=True)
        require_count("invariance.rows", self.rows)

    @property
    def label(self) -> str:
        return self.name or f"{self.column} does not matter"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def judge(self, observed: Sequence[Moved] | None) -> CheckResult:
        """Whether the answers stayed where they were; None: the column is no input."""
        required = f"answers change by at most {self.tolerance:g}" + (
            f", in all but {percent(self.at_most)} of the rows" if self.at_most else ""
        )
        if observed is None:
            words = "the model does not take it"
            return CheckResult(name=self.label, kind=self.kind, passed=True, observed=words, required=required)
        changes = [(_distance(each), each.words) for each in observed]
        bad = [each for each in changes if each[0] > self.tolerance]
        largest = max((size for size, _ in changes), default=0.0)
        return _share_result(self, bad, len(observed), f"changed, by {largest:.4g} at most", required, self.at_most)


@dataclass(frozen=True)
class Direction:
    """A directional expectation: raising a column must not lower the answer, or the other way round.

    column: raised `by` an amount, or set `to` a value; rows that have that value already are left out.
    expect: "up": the answer must not fall, "down": it must not rise; by more than `tolerance`.
    at_least: the share of rows in which it must be so.
    """

    kind: ClassVar[str] = "direction"
    served: ClassVar[bool] = False

    column: str
    by: float | None = None
    to: Any = None
    expect: Literal["up", "down"] = "up"
    tolerance: float = 0.0
    at_least: float = 0.95
    rows: int = 5_000
    alpha: float = ALPHA
    name: str = ""

    def __post_init__(self) -> None:
        require_text("direction.column", self.column)
        if (self.by is None) == (self.to is None):
            raise ConfigError("direction: expected one of by (added to the column) and to (set in every row)")
        if self.by is not None:
            require_number("direction.by", self.by, -math.inf, math.inf)
        if self.expect not in ("up", "down"):
            raise ConfigError(f"direction.expect: expected up or down, got {self.expect!r}")
        require_number("direction.tolerance", self.tolerance, 0, math.inf)
        require_number("direction.at_least", self.at_least, 0, 1)
        require_number("direction.alpha", self.alpha, 0, 0.5, above=True)
        require_count("direction.rows", self.rows)

    @property
    def label(self) -> str:
        change = f"{self.column} {self.by:+g}" if self.by is not None else f"{self.column} = {self.to}"
        return self.name or f"{change} does not {'lower' if self.expect == 'up' else 'raise'} the answer"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def judge(self, observed: Sequence[Moved] | None) -> CheckResult:
        """Whether the answers moved as expected; None: the column is no input, so no answer moves at all."""
        word = "fall" if self.expect == "up" else "rise"
        required = f"at least {percent(self.at_least)} of the rows do not {word}"
        required += f" by more than {self.tolerance:g}" if self.tolerance else ""
        if observed is None:
            words = "the model does not take it"
            return CheckResult(name=self.label, kind=self.kind, passed=True, observed=words, required=required)
        sign = 1 if self.expect == "up" else -1
        against = [(_against(each, sign), each.words) for each in observed]
        bad = [each for each in against if each[0] > self.tolerance]
        return _share_result(self, bad, len(observed), "moved the wrong way", required, 1 - self.at_least)


@dataclass(frozen=True)
class Case:
    """A row by hand, and what must be answered to it: a number in bounds, or more than to another case.

    Columns that `row` does not name have the middle of the held-out rows: the median, or the most frequent text.
    """

    name: str
    row: Mapping[str, Any] = field(default_factory=dict)
    at_least: float | None = None
    at_most: float | None = None
    above: str | None = None


@dataclass(frozen=True)
class MinimumFunctionality:
    """Named cases with required answers: what the model must get right whatever its average is."""

    kind: ClassVar[str] = "cases"
    served: ClassVar[bool] = False

    cases: tuple[Case, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigError("cases: expected at least one [[case]]")
        names = [case.name for case in self.cases]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"cases: two cases are called {twice!r}")
        for case in self.cases:
            self._require(case, names)

    @staticmethod
    def _require(case: Case, names: Sequence[str]) -> None:
        where = f"cases: case {case.name!r}"
        if case.at_least is None and case.at_most is None and case.above is None:
            raise ConfigError(f"{where}: expected at_least, at_most or above, the answer that is required")
        for key in ("at_least", "at_most"):
            if getattr(case, key) is not None:
                require_number(f"{where}: {key}", getattr(case, key), -math.inf, math.inf)
        if case.above is not None and (case.above not in names or case.above == case.name):
            raise ConfigError(f"{where}: above: expected another case ({', '.join(names)}), got {case.above!r}")

    @property
    def label(self) -> str:
        return self.name or "minimum functionality"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for case in self.cases for column in case.row))

    def judge(self, observed: Mapping[str, float]) -> CheckResult:
        """Whether each case got the answer that it must; `observed`: case -> answer."""
        broken = [words for case in self.cases for words in _broken(case, observed)]
        wrong = len({words.partition(":")[0] for words in broken})
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=not broken,
            observed=f"{len(self.cases) - wrong} of {len(self.cases)} cases as required",
            required="all",
            rows=len(self.cases),
            bad=wrong,
            examples=broken[:EXAMPLES],
        )


def _share_result(
    check: Invariance | Direction, bad: Sequence[tuple[float, str]], rows: int, what: str, required: str, bound: float
) -> CheckResult:
    verdict = ShareVerdict.of(len(bad), rows, bound, check.alpha)
    return CheckResult(
        name=check.label,
        kind=check.kind,
        passed=verdict.passed,
        observed=f"{len(bad):,} of {rows:,} rows {what} ({percent(verdict.low)} to {percent(verdict.high)})",
        required=required,
        detail=too_few(rows, bound, check.alpha) if verdict.passed is None else "",
        rows=rows,
        bad=len(bad),
        low=verdict.low,
        high=verdict.high,
        error_rate=check.alpha if bound else None,
        examples=worst(bad),
    )


def _distance(moved: Moved) -> float:
    """How far an answer moved; what is no number on one side only is infinitely far."""
    if math.isnan(moved.before) and math.isnan(moved.after):
        return 0.0
    return _number(abs(moved.after - moved.before))


def _against(moved: Moved, sign: int) -> float:
    """How far an answer moved against the expectation."""
    return _number(sign * (moved.before - moved.after))


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _broken(case: Case, observed: Mapping[str, float]) -> list[str]:
    answer, words = observed[case.name], []
    if case.at_least is not None and not answer >= case.at_least:
        words.append(f"at least {case.at_least:g}")
    if case.at_most is not None and not answer <= case.at_most:
        words.append(f"at most {case.at_most:g}")
    if case.above is not None and not answer > observed[case.above]:
        words.append(f"more than {observed[case.above]:.4f} of {case.above!r}")
    return [f"{case.name}: answered {answer:.4f}, required {word}" for word in words]
