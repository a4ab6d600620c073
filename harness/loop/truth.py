"""What turns out to be true of a load's requests, told to the prediction log some time after they were answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.errors import RehearsalError

if TYPE_CHECKING:
    from harness._prediction_log import PredictionLog
    from harness.load import Load

EVERY_S = 0.25


class TruthFeed:
    """While its block lasts, labels follow a load's requests by `lag_s` seconds: `truth` has one for each body."""

    def __init__(self, log: PredictionLog, load: Load, truth: Sequence[float], *, lag_s: float = 1.0) -> None:
        self._log, self._load, self._truth, self._lag_s = log, load, truth, lag_s
        self._recorded: list[tuple[float, int]] = []
        self._told = 0
        self._error: RehearsalError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="truth", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

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

    def _run(self) -> None:
        try:
            while not self._stopped.wait(EVERY_S):
                self.tell(time.monotonic())
        except RehearsalError as failed:
            self._error = failed

    def _due(self, now: float) -> int:
        """How many requests were on record `lag_s` ago."""
        self._recorded.append((now, self._load.recorded()))
        old = [count for at, count in self._recorded if at <= now - self._lag_s]
        self._recorded = self._recorded[max(0, len(old) - 1) :]
        return old[-1] if old else 0
