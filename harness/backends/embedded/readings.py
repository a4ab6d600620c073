"""The autoscaler's figures: means over a window, from counters that are read again and again; no I/O here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.clients.envoy import Traffic
from harness.lifecycle.autoscaler import Sample
from harness.runtime.usage import Usage


@dataclass
class Series:
    """Timed values of the last `window_s` seconds, and one from before them."""

    window_s: float
    _values: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, at: float, value: float) -> None:
        self._values.append((at, value))
        while len(self._values) > 2 and self._values[1][0] <= at - self.window_s:
            self._values.popleft()

    def rate(self) -> float | None:
        """Growth a second over the window, for a counter; None before two readings, 0 when it began anew."""
        span = self.span_s
        return None if not span else max(0.0, self._values[-1][1] - self._values[0][1]) / span

    def mean(self) -> float | None:
        """The mean over the window, for a gauge; None before the first reading."""
        return sum(value for _, value in self._values) / len(self._values) if self._values else None

    @property
    def span_s(self) -> float:
        return self._values[-1][0] - self._values[0][0] if self._values else 0.0


@dataclass
class Readings:
    """What is known of one revision's load."""

    window_s: float

    def __post_init__(self) -> None:
        self._flying, self._begun = Series(self.window_s), Series(self.window_s)
        self._used: dict[int, Series] = {}
        self._memory: dict[int, tuple[float, float]] = {}

    def take(self, at: float, traffic: Traffic) -> None:
        """Note what the gateway says of the revision."""
        self._flying.add(at, traffic.active)
        self._begun.add(at, traffic.begun)

    def take_usage(self, at: float, number: int, used: Usage) -> None:
        """Note what one replica says of itself."""
        self._used.setdefault(number, Series(self.window_s)).add(at, used.processor_s)
        self._memory[number] = at, used.memory

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget the replicas that are gone."""
        there = set(numbers)
        self._used = {number: series for number, series in self._used.items() if number in there}
        self._memory = {number: value for number, value in self._memory.items() if number in there}

    def totals(self) -> dict[str, float]:
        """Requests in flight and requests a second, of the whole revision."""
        found = {"concurrency": self._flying.mean(), "rps": self._begun.rate()}
        return {name: value for name, value in found.items() if value is not None}

    def samples(self, at: float, number: int) -> dict[str, Sample]:
        """One replica's cores, once they were read over most of a window, and its bytes."""
        found: dict[str, Sample] = {}
        series = self._used.get(number)
        if series is not None and series.span_s >= 0.8 * self.window_s and (cores := series.rate()) is not None:
            found["cpu"] = Sample(cores, at, series.span_s)
        if number in self._memory:
            found["memory"] = Sample(self._memory[number][1], at)
        return found
