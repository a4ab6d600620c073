"""The simulated services: what share of a revision's requests fails or is slow, when, and how many requests come."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, erfc, exp, log, pi, sqrt

from harness.errors import UsageError
from harness.lifecycle.slo import is_number

NEVER = 101  # a weight that no canary reaches


@dataclass(frozen=True)
class Behaviour:
    """One revision: the shares of its requests that fail and that are slow; a failed request is never slow.

    From a canary's weight `breaks_at` on, a share `then_errors` fails. `shift` is how far the distribution function of
    its predictions lies below the baseline's, `agreement` the share of copies with the baseline's answer.
    """

    errors: float = 0.002
    slow: float = 0.005
    breaks_at: int = NEVER
    then_errors: float = 0.0
    shift: float = 0.0
    agreement: float = 1.0

    def __post_init__(self) -> None:
        for name in ("errors", "slow", "then_errors", "shift", "agreement"):
            _check_share(name, getattr(self, name))
        if max(self.errors, self.then_errors) + self.slow > 1:
            raise UsageError(f"errors {self.errors:g} and slow {self.slow:g}: together they are at most 1")

    def errors_at(self, percent: int) -> float:
        """The share that fails while the canary has this weight."""
        return self.then_errors if percent >= self.breaks_at else self.errors


@dataclass(frozen=True)
class World:
    """A canary beside its baseline, and their traffic: Poisson arrivals at `rps`, split at random.

    In the first `warm_up_s` the canary's share of slow requests falls from `warm_up_slow` to its own. With `burst_s`
    failures come in bursts of that mean length, which take up a tenth of the time: their shares stay the same, but
    they are no longer independent. With `night_s` the traffic thins out to a tenth within that time, as a cosine.
    """

    canary: Behaviour = field(default_factory=Behaviour)
    baseline: Behaviour = field(default_factory=Behaviour)
    rps: float = 50.0
    warm_up_s: float = 0.0
    warm_up_slow: float = 0.5
    burst_s: float = 0.0
    night_s: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.rps) or not 0 < self.rps <= 1e6:
            raise UsageError(f"rps: expected a number above 0 and at most 1000000, got {self.rps!r}")
        for name in ("warm_up_s", "burst_s", "night_s"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < 1e9:
                raise UsageError(f"{name}: expected seconds, at least 0, got {value!r}")
        _check_share("warm_up_slow", self.warm_up_slow)
        most = max(revision.errors_at(weight) for revision in (self.canary, self.baseline) for weight in (0, 100))
        if self.burst_s and most / BURST_SHARE + max(self.canary.slow, self.baseline.slow) > 1:
            raise UsageError(
                f"burst_s: bursts take up {BURST_SHARE:.0%} of the time, so no more may fail; got {most:g}"
            )

    def rps_at(self, now: float) -> float:
        """The expected requests a second, `now` seconds after the start."""
        if not self.night_s:
            return self.rps
        return self.rps * (0.55 + 0.45 * cos(pi * now / self.night_s))

    def canary_slow_at(self, now: float) -> float:
        """The share of the canary's answers that is slow, `now` seconds after its start."""
        warm = min(1.0, now / self.warm_up_s) if self.warm_up_s else 1.0
        return warm * self.canary.slow + (1 - warm) * max(self.warm_up_slow, self.canary.slow)

    def burst_ends(self, seconds: float) -> float:
        """The probability that a burst is over after so many seconds."""
        return 1 - exp(-seconds / self.burst_s)


BURST_SHARE = 0.1


def slow_share(distribution: str, slower_than_ms: float) -> float:
    """The share of latencies above a bound: of "lognormal:MEDIAN_MS:SIGMA" or "exponential:MEAN_MS"."""
    kind, _, numbers = distribution.partition(":")
    try:
        values = [float(number) for number in numbers.split(":")]
    except ValueError:
        values = []
    if kind == "lognormal" and len(values) == 2 and min(values) > 0:
        return erfc(log(slower_than_ms / values[0]) / values[1] / sqrt(2)) / 2
    if kind == "exponential" and len(values) == 1 and values[0] > 0:
        return exp(-slower_than_ms / values[0])
    raise UsageError(
        f"latency: expected lognormal:MEDIAN_MS:SIGMA or exponential:MEAN_MS with numbers above 0, got {distribution!r}"
    )


def _check_share(name: str, value: object) -> None:
    if not is_number(value) or not 0 <= value <= 1:
        raise UsageError(f"{name}: expected a share from 0 to 1, got {value!r}")
