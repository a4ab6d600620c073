"""Runs the catalogue: seeded, the same figures for the same seed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import pandas as pd

from harness.drift_bench.results import BenchResult, Share, ShiftResult
from harness.drift_bench.shifts import CATALOGUE, Shift, unshifted
from harness.errors import UsageError
from harness.lifecycle.calibration import PAIRS, Calibration, Rate, calibrate
from harness.lifecycle.drift import LABEL, judge, losses
from harness.report._interval import exact_interval
from harness.report.record import DriftRecord

Progress = Callable[[str, int, int], None]
"""What is tried, how many of it are done, of how many."""


@dataclass(frozen=True)
class Plan:
    """How much is tried. Windows without a shift, and for each shift so many trials of at most `windows` windows."""

    unshifted: int = 3_000
    trials: int = 40
    windows: int = 24
    rows: int = 400
    reference_rows: int = 8_000
    references: int = 6
    false_alarms_per_day: float = 0.1
    looks_per_day: float = 24.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("unshifted", "trials", "windows", "rows", "reference_rows", "references"):
            if getattr(self, name) < 1:
                raise UsageError(f"drift-bench: {name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class _Judge:
    """A reference with its thresholds; false alarms depend on which reference one happens to have."""

    reference: pd.DataFrame
    calibration: Calibration

    def __call__(self, window: pd.DataFrame) -> DriftRecord:
        features = window.drop(columns=LABEL)
        record, _ = judge(self.reference, features, window_name="bench", calibration=self.calibration, labelled=window)
        return record


def run(plan: Plan, progress: Progress | None = None, shifts: tuple[Shift, ...] = CATALOGUE) -> BenchResult:
    """Measure false alarms and delays."""
    began = time.monotonic()
    tell = progress or (lambda *_: None)
    judges = []
    for number in range(plan.references):
        tell("calibration", number, plan.references)
        judges.append(_calibrated(plan, number))
    alarms = 0
    for number in range(plan.unshifted):
        tell("no shift", number, plan.unshifted)
        window = unshifted(_generator(plan, "no shift", number), plan.rows, 0)
        alarms += judges[number % len(judges)](window).drifted
    found = share(alarms, plan.unshifted)
    looks = plan.looks_per_day
    return BenchResult(
        seed=plan.seed,
        rows=plan.rows,
        reference_rows=plan.reference_rows,
        columns=len(judges[0].reference.columns) - 1,
        false_alarms_per_day=plan.false_alarms_per_day,
        looks_per_day=looks,
        resampled=judges[0].calibration.resampled,
        false_alarms=found,
        per_day=(found.value * looks, found.low * looks, found.high * looks),
        shifts=[_shift(plan, shift, judges, tell) for shift in shifts],
        took_s=time.monotonic() - began,
    )


def share(count: int, trials: int, confidence: float = 0.95) -> Share:
    """A share with its exact two-sided interval."""
    low, high = exact_interval(count, trials, confidence)
    return Share(count=count, trials=trials, low=low, high=high)


def _calibrated(plan: Plan, number: int) -> _Judge:
    reference = unshifted(_generator(plan, "reference", number), plan.reference_rows, 0)
    rate = Rate(plan.false_alarms_per_day, plan.looks_per_day)
    compared = reference.drop(columns=LABEL)
    return _Judge(reference, calibrate(compared, rate, rows=plan.rows, losses=losses(reference)))


def _shift(plan: Plan, shift: Shift, judges: list[_Judge], tell: Progress) -> ShiftResult:
    delays: list[int] = []
    kinds: Counter[str] = Counter()
    for trial in range(plan.trials):
        tell(shift.name, trial, plan.trials)
        rng = _generator(plan, shift.name, trial)
        for window in range(plan.windows):
            record = judges[trial % len(judges)](shift.make(rng, plan.rows, window))
            if record.drifted:
                delays.append(window + 1)
                kinds.update(_kinds(record))
                break
    return ShiftResult(
        name=shift.name,
        words=shift.words,
        found=share(len(delays), plan.trials),
        at_once=share(delays.count(1), plan.trials),
        median_windows=median(delays) if 2 * len(delays) >= plan.trials else None,
        worst_windows=max(delays, default=None),
        by={kind: share(count, plan.trials) for kind, count in sorted(kinds.items())},
    )


def _kinds(record: DriftRecord) -> set[str]:
    """Which tests alarmed: of single columns, of pairs, of the prediction, of the quality."""
    return {"pairs" if each.column == PAIRS else each.kind for each in record.columns if each.drifted}


def _generator(plan: Plan, what: str, number: int) -> np.random.Generator:
    """The same for the same seed, whatever else is tried."""
    return np.random.default_rng([plan.seed, *what.encode(), number])
