"""What the serving side costs while a load runs: the cores that the gateway and each revision use, second by second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import RehearsalError
from harness.runtime.sampler import Sampler

EVERY_S = 1.0

Used = Mapping[str, Mapping[int, float]]  # name -> process -> seconds of a core since it began
Columns = dict[str, list[float]]


@dataclass(frozen=True)
class Reading:
    """What had been used at one moment, in Unix seconds."""

    at: float
    used: Used


class ProcessorMeter(Sampler):
    """Reads once a second, in a thread of its own, until it is left; `read` says what has been used so far."""

    def __init__(self, read: Callable[[], Used]) -> None:
        super().__init__("processors", EVERY_S)
        self.readings: list[Reading] = []
        self._read = read

    def take(self) -> None:
        try:
            used = self._read()
        except RehearsalError:  # the service is gone, or the gateway is being started again
            return
        if used:
            self.readings.append(Reading(time.time(), used))


def cores(readings: Sequence[Reading], started_at: float, step_s: int, steps: int) -> Columns:
    """Cores in use by name, an entry for each step of a load that began at `started_at` (Unix s); NaN where unknown.

    A process counts from its second reading on, and no more when it is gone: a restart's counter begins anew.
    """
    names = dict.fromkeys(name for reading in readings for name in reading.used)
    found: dict[str, list[list[float]]] = {name: [[] for _ in range(steps)] for name in names}
    for before, after in pairwise(readings):
        step = int(((before.at + after.at) / 2 - started_at) // step_s)
        if 0 <= step < steps:
            for name in after.used:
                found[name][step].append(_grown(before.used.get(name, {}), after.used[name]) / (after.at - before.at))
    return {
        name: [sum(values) / len(values) if values else math.nan for values in column]
        for name, column in found.items()
    }  # fmt: skip


def _grown(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(max(0.0, used - before[process]) for process, used in after.items() if process in before)
