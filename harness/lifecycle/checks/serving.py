"""Checks of a version as it is served: train/serve skew, and budgets for latency and size. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.lifecycle.checks._judging import (
    ALPHA,
    ShareVerdict,
    percent,
    require_count,
    require_number,
    too_few,
    worst,
)
from harness.report.record import CheckResult

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Compared:
    """A row's answer as served in one encoding, and the model's own; `error` instead of an answer that is none."""

    encoding: str
    row: int
    offline: float
    served: float | None = None
    error: str = ""

    @property
    def difference(self) -> float:
        if self.served is None or math.isnan(self.served) != math.isnan(self.offline):
            return math.inf
        return 0.0 if math.isnan(self.served) else abs(self.served - self.offline)

    @property
    def words(self) -> str:
        came = self.error or f"served {self.served}"
        return f"{self.encoding}, row {self.row}: {came}, offline {self.offline}"


@dataclass(frozen=True)
class Skew:
    """Train/serve skew: every row of a sample is answered through the gateway as by the model itself.

    Each row alone, as clients ask, in every encoding: a list, by name, as V2 tensors; all in one batch; and each column
    by itself as the integer that JSON may have for its value (3 for 3.0).
    """

    kind: ClassVar[str] = "skew"
    served: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()

    rows: int = 100
    tolerance: float = 1e-9
    name: str = ""

    def __post_init__(self) -> None:
        require_count("skew.rows", self.rows)
        require_number("skew.tolerance", self.tolerance, 0, math.inf)

    @property
    def label(self) -> str:
        return self.name or "served as trained"

    def judge(self, observed: Sequence[Compared]) -> CheckResult:
        """Whether no answer differs, in any encoding."""
        bad = [each for each in observed if each.difference > self.tolerance]
        encodings = dict.fromkeys(each.encoding for each in observed)
        wrong = {name: sum(each.encoding == name for each in bad) for name in encodings}
        largest = max((each.difference for each in observed), default=0.0)
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=not bad if observed else None,
            observed=f"{len(bad):,} of {len(observed):,} answers differ, by {largest:.2g} at most",
            required=f"no difference above {self.tolerance:g}",
            detail="; ".join(f"{name}: {count} differ" for name, count in wrong.items() if count)
            or f"{len({each.row for each in observed}):,} rows, {len(encodings)} encodings",
            rows=len(observed),
            bad=len(bad),
            examples=worst((each.difference, each.words) for each in bad),
        )


@dataclass(frozen=True)
class Latency:
    """A latency budget: the p99 of single predictions through the gateway, one after the other.

    At most 1 % may take longer than p99_ms; a share, so it is judged by exact bounds that no few outliers mislead.
    A request over the budget is asked twice more and its best time counts: a busy machine is no slow model.
    """

    kind: ClassVar[str] = "latency"
    served: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()
    SLOWER: ClassVar[float] = 0.01

    p99_ms: float
    requests: int = 700
    alpha: float = ALPHA
    name: str = ""

    def __post_init__(self) -> None:
        require_number("latency.p99_ms", self.p99_ms, 0, math.inf, above=True)
        require_number("latency.alpha", self.alpha, 0, 0.5, above=True)
        require_count("latency.requests", self.requests)

    @property
    def label(self) -> str:
        return self.name or "latency budget"

    def judge(self, observed: Sequence[float]) -> CheckResult:
        """Whether the p99 of the latencies (ms) is within the budget."""
        slow = [each for each in observed if each > self.p99_ms]
        verdict = ShareVerdict.of(len(slow), len(observed), self.SLOWER, self.alpha)
        ordered = sorted(observed) or [math.nan]
        p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=verdict.passed,
            observed=f"p99 {p99:.2f} ms; {len(slow)} of {len(observed):,} slower "
            f"({percent(verdict.low)} to {percent(verdict.high)})",
            required=f"p99 at most {self.p99_ms:g} ms",
            detail=too_few(len(observed), self.SLOWER, self.alpha) if verdict.passed is None else f"p50 {p50:.2f} ms",
            rows=len(observed),
            bad=len(slow),
            low=verdict.low,
            high=verdict.high,
            error_rate=self.alpha,
            examples=worst((each, f"{each:.2f} ms") for each in slow),
        )


@dataclass(frozen=True)
class Size:
    """A size budget: the files of the model version, as a replica fetches them, in megabytes (10^6 bytes)."""

    kind: ClassVar[str] = "size"
    served: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    max_mb: float
    name: str = ""

    def __post_init__(self) -> None:
        require_number("size.max_mb", self.max_mb, 0, math.inf, above=True)

    @property
    def label(self) -> str:
        return self.name or "size budget"

    def judge(self, observed: dict[str, int]) -> CheckResult:
        """Whether the files (name -> bytes) are within the budget together."""
        whole = sum(observed.values())
        return CheckResult(
            name=self.label,
            kind=self.kind,
            passed=whole <= self.max_mb * MEGABYTE,
            observed=f"{whole / MEGABYTE:.3f} MB in {len(observed)} files",
            required=f"at most {self.max_mb:g} MB",
            rows=len(observed),
            bad=int(whole > self.max_mb * MEGABYTE),
            examples=worst((size, f"{name}: {size / MEGABYTE:.3f} MB") for name, size in observed.items()),
        )
