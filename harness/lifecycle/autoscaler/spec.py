"""What an autoscaler is told, in the terms of autoscaling/v2; defaults are those of the API server and controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import ConfigError


class TargetKind(StrEnum):
    """How a metric's target is meant.

    Of the replicas' own figures: percent of what they request, or so much for each. Of one figure of the whole service,
    as a gateway counts it (autoscaling/v2: an External metric): so much for each replica, or in all.
    """

    UTILIZATION = "Utilization"
    AVERAGE_VALUE = "AverageValue"
    EXTERNAL_AVERAGE = "External AverageValue"
    EXTERNAL_VALUE = "External Value"

    @property
    def of_service(self) -> bool:
        """Whether the figure is one of the whole service; such a one may scale from and to zero."""
        return self in (TargetKind.EXTERNAL_AVERAGE, TargetKind.EXTERNAL_VALUE)


class PolicyKind(StrEnum):
    """What a scaling policy limits: so many replicas, or a percentage of them."""

    PODS = "Pods"
    PERCENT = "Percent"


class Select(StrEnum):
    """Which of several policies counts: the one that allows the most change, the least, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True)
class Target:
    """One metric and its target: percent of the requests, or a value per replica (cores, bytes, requests/s)."""

    metric: str
    value: float
    kind: TargetKind = TargetKind.UTILIZATION

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ConfigError(f"autoscaler: target of {self.metric}: expected a number above 0, got {self.value!r}")


@dataclass(frozen=True)
class Policy:
    """At most `value` replicas, or percent of them, are added (or removed) within `period_s` seconds."""

    kind: PolicyKind
    value: int
    period_s: float

    def __post_init__(self) -> None:
        if self.value < 1 or not 0 < self.period_s <= 1800:
            words = "expected a value of at least 1 and a period above 0 and at most 1800 s"
            raise ConfigError(f"autoscaler: {self.kind} policy: {words}, got {self.value!r} and {self.period_s!r}")


@dataclass(frozen=True)
class Rules:
    """How fast one direction may go: the window whose recommendations all have to agree, and the policies."""

    stabilisation_s: float
    policies: tuple[Policy, ...]
    select: Select = Select.MAX


ALL_AT_ONCE = Policy(PolicyKind.PERCENT, 100, 15)
UP = Rules(0, (Policy(PolicyKind.PODS, 4, 15), ALL_AT_ONCE))
DOWN = Rules(300, (ALL_AT_ONCE,))


@dataclass(frozen=True)
class AutoscalerSpec:
    """Between `least` and `most` replicas, so that every target is kept. Seconds; `tolerance` is a share.

    initialisation_s and first_readiness_s: how long a started replica's CPU figures are distrusted, see
    harness.lifecycle.autoscaler.proposal; sync_s: how often the autoscaler looks. `behavior` False: the object has none
    at all; then there are no policies: up to four or the double at each look, and down as far as the window lets it.
    """

    least: int
    most: int
    targets: tuple[Target, ...]
    up: Rules = UP
    down: Rules = DOWN
    tolerance: float = 0.1
    sync_s: float = 15
    initialisation_s: float = 300
    first_readiness_s: float = 30
    behavior: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1:
            words = "expected 0 <= minReplicas <= maxReplicas and a maxReplicas of at least 1"
            raise ConfigError(f"autoscaler: {words}, got {self.least} and {self.most}")
        if not self.targets:
            raise ConfigError("autoscaler: expected at least one target")
        if self.least == 0 and not any(target.kind.of_service for target in self.targets):
            words = "minReplicas 0: expected a metric of the whole service, because no replica has none of its own"
            raise ConfigError(f"autoscaler: {words}, got {', '.join(target.metric for target in self.targets)}")


@dataclass(frozen=True)
class Sample:
    """A metric's value of one replica, averaged over the `window_s` seconds before `at`."""

    value: float
    at: float
    window_s: float = 0.0


@dataclass(frozen=True)
class Replica:
    """What is known of one replica; `requests` are what utilisation counts against, by metric.

    ready_changed_at: when its readiness last changed; None: it has said nothing of its readiness yet. `ending`: it was
    told to stop, or has failed.
    """

    ready: bool = True
    pending: bool = False
    ending: bool = False
    started_at: float = 0.0
    ready_changed_at: float | None = 0.0
    samples: Mapping[str, Sample] = field(default_factory=dict)
    requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What the autoscaler sees at one look: the replicas that are asked for now, those that there are, and `totals`.

    `totals`: metric -> its value for the whole service, for targets of such a kind; a metric without a value is left
    out.
    """

    current: int
    replicas: tuple[Replica, ...]
    totals: Mapping[str, float] = field(default_factory=dict)
