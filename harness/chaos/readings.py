"""What a rollout reads of its service, made stale, missing or late; everything else passes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import PlatformError
from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import ServingPort
from harness.lifecycle.rollout import By
from harness.report.record import RevisionCounts
from harness.runtime.clock import WALL, Clock

Mode = Literal["", "stale", "missing", "late"]


@dataclass(frozen=True)
class _Reading:
    counts: list[RevisionCounts]
    answers: Answers | None
    at: float


class FaultyReadings:
    """A ServingPort around another one; `mode` says what is wrong with its readings, `late_s` by how much they lag."""

    def __init__(self, port: ServingPort, clock: Clock = WALL) -> None:
        self._port, self._clock = port, clock
        self.service, self.baseline, self.canary = port.service, port.baseline, port.canary
        self._last: _Reading | None = None
        self.mode: Mode = ""
        self.late_s = 0.0

    def mend(self) -> None:
        """Readings are as they should be again."""
        self.mode = ""

    def counts(self) -> list[RevisionCounts]:
        if self.mode == "missing":
            raise PlatformError("a rehearsed fault: there are no counters")
        if self.mode != "stale" or self._last is None:
            now = self._clock.now()
            counts, answers, at = self._port.counts(), self._port.answers(), self._port.read_at()
            self._last = _Reading(counts, answers, now if at is None else at)
        return self._last.counts

    def read_at(self) -> float | None:
        if self._last is None:
            return None
        return self._last.at - (self.late_s if self.mode == "late" else 0.0)

    def answers(self) -> Answers | None:
        return self._last.answers if self._last else self._port.answers()

    def withheld(self) -> str:
        return self._port.withheld()

    def start_canary(self) -> None:
        self._port.start_canary()

    def set_weight(self, percent: int) -> None:
        self._port.set_weight(percent)

    def assign(self, percent: int, by: By) -> None:
        self._port.assign(percent, by)

    def mirror(self, percent: int) -> None:
        self._port.mirror(percent)

    def promote(self) -> None:
        self._port.promote()

    def roll_back(self) -> None:
        self._port.roll_back()
