"""The autoscaler's figures: means over a window, from counters that are read again and again; no I/O here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

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
        """Growth a second over the window, for a counter, also for one that began anew; None before two readings."""
        grown = sum(_growth(before, after) for (_, before), (_, after) in pairwise(self._values))
        return max(0.0, grown) / self.span_s if self.span_s else None

    def mean(self) -> float | None:
        """The mean over the time of the window, for a gauge; None before the first reading.

        Between two readings the value runs along a line, however far apart they are.
        """
        if not self._values:
            return None
        end, last = self._values[-1]
        begin = max(self._values[0][0], end - self.window_s)
        pieces = [_within(begin, *one, *other) for one, other in pairwise(self._values)]
        return sum(pieces) / (end - begin) if end > begin else last

    def fresh(self, now: float) -> bool:
        """Whether there is a reading within the window."""
        return bool(self._values) and now - self._values[-1][0] <= self.window_s

    @property
    def span_s(self) -> float:
        return self._values[-1][0] - self._values[0][0] if self._values else 0.0


def _growth(before: float, after: float) -> float:
    """Of a counter between two readings; one that fell by more than requests that are just ending began anew."""
    return after if after < before / 2 else after - before


def _within(begin: float, at: float, value: float, later: float, last: float) -> float:
    """The area under the line from one reading to the next, as far as it is after `begin`."""
    if later <= max(at, begin):
        return 0.0
    first = value + (last - value) * max(0.0, begin - at) / (later - at)
    return (later - max(at, begin)) * (first + last) / 2


@dataclass
class Readings:
    """What is known of one revision's load."""

    window_s: float

    def __post_init__(self) -> None:
        self._flying, self._begun = Series(self.window_s), Series(self.window_s)
        self._used: dict[int, Series] = {}
        self._memory: dict[int, tuple[float, float]] = {}

    def take(self, at: float, traffic: Traffic) -> None:
        """Note what the gateway says of the revision; what was before an outage is not of this window."""
        if not self._flying.fresh(at):
            self._flying, self._begun = Series(self.window_s), Series(self.window_s)
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

    def totals(self, now: float) -> dict[str, float]:
        """Requests in flight and requests a second, of the whole revision; none without a reading in the window."""
        if not self._flying.fresh(now):
            return {}
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
