"""What a verdict is about: how many requests a revision had, and how many of them were bad."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Requests of one revision and those that failed; requests whose latency is known (`timed`) and the slow of them.

    Latencies are known later than requests, and never for those that no replica answered. `routed` are all that it was
    given, answered or not; 0 where that is not known.
    """

    requests: int = 0
    failed: int = 0
    slow: int = 0
    timed: int = 0
    routed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.failed + other.failed,
            self.slow + other.slow,
            self.timed + other.timed,
            self.routed + other.routed,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.requests - other.requests,
            self.failed - other.failed,
            self.slow - other.slow,
            self.timed - other.timed,
            self.routed - other.routed,
        )


ZERO = Counts()
Pair = tuple[Counts, Counts]  # the canary's and the baseline's counts over the same time
