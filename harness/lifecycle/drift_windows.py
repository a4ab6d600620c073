"""Which windows of time a drift check looks at: tumbling, or sliding by a step; on the clock's own marks. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import UsageError

DAY_S = 86_400.0
MOST_OVERDUE = 50
"""After an outage so many windows are made up for, the newest."""


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `length_s` seconds, a new one each `step_s` (0: each `length_s`, so that none overlaps another).

    A window is judged `grace_s` after its end, when events that were on their way have come.
    """

    length_s: float = 3600.0
    step_s: float = 0.0
    grace_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.length_s < math.inf:
            raise UsageError(f"drift: window_s: expected seconds above 0, got {self.length_s!r}")
        if not 0 <= self.step_s <= self.length_s:
            raise UsageError(f"drift: step_s: expected 0 to {self.length_s:g} (the window), got {self.step_s!r}")
        if not 0 <= self.grace_s < math.inf:
            raise UsageError(f"drift: grace_s: expected seconds of at least 0, got {self.grace_s!r}")

    @property
    def every_s(self) -> float:
        """Seconds from one look to the next."""
        return self.step_s or self.length_s

    @property
    def looks_per_day(self) -> float:
        return DAY_S / self.every_s

    def due(self, last_end: float, now: float) -> list[tuple[float, float]]:
        """(start, end) of the windows that ended after `last_end` and whose grace is over, the oldest first."""
        newest = math.floor((now - self.grace_s) / self.every_s)
        oldest = max(math.floor(last_end / self.every_s) + 1, newest - MOST_OVERDUE + 1)
        ends = [number * self.every_s for number in range(oldest, newest + 1)]
        return [(end - self.length_s, end) for end in ends]

    def next_look(self, now: float) -> float:
        """When the next window is due."""
        return (math.floor((now - self.grace_s) / self.every_s) + 1) * self.every_s + self.grace_s
