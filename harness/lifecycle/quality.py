"""How good served predictions turned out to be once the labels came: metrics with intervals, window by window. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.lifecycle.evaluation import Array, resampled_auc
from harness.report.record import MetricRecord

CONFIDENCE = 0.95
RESAMPLES = 400
LEAST_LABELS = 30
"""With fewer labels a window has no figure: an interval of so few would say nothing."""


@dataclass(frozen=True)
class Span:
    """The rows `rows` of a log are those from `start` up to, not including, `end` (Unix seconds)."""

    start: float
    end: float
    rows: slice


def metrics(truth: Array, predicted: Array, *, seed: int = 0) -> list[MetricRecord]:
    """Of rows with labels: AUC and Brier score where labels are 0 and 1, else the root mean squared error.

    95 % intervals: of the AUC by the bootstrap (Poisson weights, seeded); of a mean square by its standard error. None
    with fewer than LEAST_LABELS rows; an AUC takes both classes. The better end is 1 for "auc", 0 for the others.
    """
    if len(truth) < LEAST_LABELS:
        return []
    squares = (truth - predicted) ** 2
    half = 1.959964 * float(squares.std(ddof=1)) / math.sqrt(len(squares))
    mean = float(squares.mean())
    if not np.isin(truth, (0.0, 1.0)).all():
        low, high = math.sqrt(max(0.0, mean - half)), math.sqrt(mean + half)
        return [MetricRecord(name="rmse", value=math.sqrt(mean), low=low, high=high)]
    found = [MetricRecord(name="brier", value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))]
    if 0 < truth.sum() < len(truth):
        found.insert(0, _auc(truth, predicted, seed))
    return found


def spans(at: Array, window_s: float) -> Iterator[Span]:
    """Tumbling windows of the clock over moments in order: of hours they begin at full hours; no empty ones."""
    numbers = np.floor(at / window_s).astype(np.int64)
    for number in np.unique(numbers):
        first, last = np.searchsorted(numbers, [number, number + 1])
        yield Span(float(number) * window_s, float(number + 1) * window_s, slice(int(first), int(last)))


def _auc(truth: Array, predicted: Array, seed: int) -> MetricRecord:
    weights = np.random.default_rng(seed).poisson(1.0, (RESAMPLES, len(truth))).astype(np.float64)
    drawn = resampled_auc(truth, predicted, np.vstack([np.ones(len(truth)), weights]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn[1:], [tail, 1 - tail])
    return MetricRecord(name="auc", value=float(drawn[0]), low=float(low), high=float(high))
