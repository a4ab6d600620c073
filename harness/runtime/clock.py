"""Time as a parameter: the wall clock for production code, a virtual one for simulation and tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Seconds that only grow; the origin has no meaning."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class VirtualClock:
    """A clock that moves only when someone sleeps on it."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += max(0.0, seconds)


WALL = WallClock()


@dataclass(frozen=True)
class Deadline:
    """A point in time that is passed down, so that layers share one budget instead of each having a timeout."""

    at: float
    clock: Clock = WALL

    @classmethod
    def after(cls, seconds: float, clock: Clock = WALL) -> Deadline:
        return cls(clock.now() + seconds, clock)

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock.now())

    def passed(self) -> bool:
        return self.clock.now() >= self.at

    def at_most(self, seconds: float) -> Deadline:
        """This deadline, or one `seconds` from now if that is sooner."""
        return Deadline(min(self.at, self.clock.now() + seconds), self.clock)
