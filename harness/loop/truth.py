"""What turns out to be true of a load's requests, told to the prediction log some time after they were answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.runtime.background import Background

if TYPE_CHECKING:
    from harness._prediction_log import PredictionLog
    from harness.load import Load

EVERY_S = 0.25


class TruthFeed(Background):
    """While its block lasts, labels follow a load's requests by `lag_s` seconds: `truth` has one for each body."""

    def __init__(self, log: PredictionLog, load: Load, truth: Sequence[float], *, lag_s: float = 1.0) -> None:
        super().__init__("truth")
        self._log, self._load, self._truth, self._lag_s = log, load, truth, lag_s
        self._recorded: list[tuple[float, int]] = []
        self._told = 0

    def tell(self, now: float) -> None:
        """Give the labels that are due at a moment (seconds of any clock)."""
        shape, bodies, due = self._load.spec.shape, len(self._truth), self._due(now)
        labels = {
            f"{self._load.load_id}-{sequence}": self._truth[shape.body(sequence, bodies)]
            for sequence in range(self._told, due)
        }
        if labels:
            self._log.label(labels)
        self._told = max(self._told, due)

    def run(self) -> None:
        while not self.stopped.wait(EVERY_S):
            self.tell(time.monotonic())

    def _due(self, now: float) -> int:
        """How many requests were on record `lag_s` ago."""
        self._recorded.append((now, self._load.recorded()))
        old = [count for at, count in self._recorded if at <= now - self._lag_s]
        self._recorded = self._recorded[max(0, len(old) - 1) :]
        return old[-1] if old else 0
