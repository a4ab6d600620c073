"""The promise that a served model keeps: how many requests may fail, and how many may be slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from harness.errors import ConfigError

# The gateway answers "how many were slower than t?" from a histogram, so only for t on one of its bucket bounds.
LATENCY_BUCKETS_MS: tuple[float, ...] = (
    0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750,
    1000, 1500, 2000, 2500, 5000, 10000,
)  # fmt: skip


@dataclass(frozen=True)
class SLO:
    """At most a share `errors` of requests fails, and at most a share `slow` takes longer than `slower_than_ms`.

    Shares are above 0 and below 1: no number of requests can show that a share is exactly 0.
    `slower_than_ms` is one of LATENCY_BUCKETS_MS.
    """

    errors: float = 0.02
    slower_than_ms: float = 100
    slow: float = 0.05

    def __post_init__(self) -> None:
        for name in ("errors", "slow"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value < 1):
                raise ConfigError(f"slo.{name}: expected a share above 0 and below 1, such as 0.01, got {value!r}")
        if not is_number(self.slower_than_ms) or self.slower_than_ms not in LATENCY_BUCKETS_MS:
            allowed = " or ".join(f"{bound:g}" for bound in _nearest_buckets(self.slower_than_ms))
            raise ConfigError(
                f"slo.slower_than_ms: the gateway's histogram has no bound at {self.slower_than_ms!r} ms, use {allowed}"
            )


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is an int or a float; Python counts True as an int, a configuration does not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest_buckets(value: object) -> tuple[float, ...]:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return LATENCY_BUCKETS_MS
    return tuple(sorted(sorted(LATENCY_BUCKETS_MS, key=lambda bound: abs(bound - value))[:2]))
