"""What a rollout asks its driver to do, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ByUser:
    """Each user, named by this header, always meets the same revision."""

    header: str = "x-user-id"

    def __str__(self) -> str:
        return f"user ({self.header})"


@dataclass(frozen=True)
class ByHeader:
    """Requests with exactly this header meet the canary, all others the baseline."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"header ({self.name}: {self.value})"


By = ByUser | ByHeader


@dataclass(frozen=True)
class SetWeight:
    """Route this percentage of the traffic to the canary."""

    percent: int


@dataclass(frozen=True)
class Assign:
    """Route requests by what they say: to the canary this percentage of the users, or those with a header."""

    percent: int
    by: By


@dataclass(frozen=True)
class Mirror:
    """Give the canary copies of this percentage of the baseline's requests; its answers are dropped."""

    percent: int


@dataclass(frozen=True)
class Promote:
    """Make the canary the one serving revision."""


@dataclass(frozen=True)
class RollBack:
    """Give all traffic to the baseline and retire the canary."""

    reason: str


Action = SetWeight | Assign | Mirror | Promote | RollBack
