"""The four policies of a rollout, as data: what is tried, how long, and what must be shown.

Durations are in seconds, `percent` and `steps` are percentages, all other shares are in [0, 1].
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Literal

from harness.lifecycle.rollout import _checks as check
from harness.lifecycle.rollout.actions import Assign, By, ByHeader, ByUser, Mirror, SetWeight
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import STANDARD, Standard

Metric = Literal["errors", "slow", "positive"]
METRICS: tuple[Metric, ...] = ("errors", "slow", "positive")


@dataclass(frozen=True)
class Stage:
    """One way of routing that a policy tries: how to get it, which share of the users meets the canary.

    `splits`: requests are given to the canary at random by that share, so the split can be tested. Its step opens
    `settles_s` after it is in effect.
    """

    action: SetWeight | Assign | Mirror
    percent: int
    splits: bool = False
    settles_s: float = 0.0


@dataclass(frozen=True)
class _Policy:
    """What all policies have: the SLO, how sure a verdict must be, and how long a roll back may fail.

    A reading that is older than `max_age_s`, or the first one after as long without a new request of the canary, does
    not promote. A roll back that fails is tried again for `rollback_within_s`.
    """

    slo: SLO = field(default_factory=SLO)
    _: KW_ONLY
    standard: Standard = STANDARD
    max_age_s: float = 5.0
    rollback_within_s: float = 30.0

    def _check_shared(self, kind: str) -> None:
        check.instance(f"{kind}.slo", self.slo, (SLO,), "an SLO")
        check.instance(f"{kind}.standard", self.standard, (Standard,), "a Standard")
        for name in ("alpha", "beta"):
            check.share(f"{kind}.standard.{name}", getattr(self.standard, name))
        check.number(f"{kind}.standard.margin_share", self.standard.margin_share, least=0.0, most=1.0)
        self._check_numbers(kind, max_age_s=0.1, rollback_within_s=0.0)

    def _check_numbers(self, kind: str, **least: float) -> None:
        for name, value in least.items():
            check.number(f"{kind}.{name}", getattr(self, name), least=value, whole=name.endswith("_requests"))


@dataclass(frozen=True)
class Canary(_Policy):
    """A share of the traffic that grows step by step.

    A step lasts at least `min_step_s` and `min_step_requests` canary requests; once it is proven it goes on for
    `pause_s`, and after the weights in `manual` until a person approves, at most `approval_s`. A step without a verdict
    after `max_step_s` ends the rollout with NOT_ENOUGH_EVIDENCE and the baseline serving. `prediction_shift` is the
    most by which the two distributions of predictions may differ. With `prove_split` a step below 100 % also lasts
    until a split that is off by 5 points would have shown.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    max_step_s: float = 60.0
    min_step_s: float = 1.0
    min_step_requests: int = 20
    pause_s: float = 0.0
    manual: tuple[int, ...] = ()
    approval_s: float = 3600.0
    prediction_shift: float | None = None
    prove_split: bool = False
    kind: Literal["canary"] = field(default="canary", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._check_shared("canary")
        object.__setattr__(self, "steps", check.rising_weights("canary.steps", self.steps))
        object.__setattr__(self, "manual", check.among("canary.manual", self.manual, self.steps))
        self._check_numbers("canary", max_step_s=0.1, min_step_s=0.0, min_step_requests=1, pause_s=0.0, approval_s=0.0)
        check.not_longer("canary.min_step_s", self.min_step_s, "max_step_s", self.max_step_s)
        if self.prediction_shift is not None:
            check.share("canary.prediction_shift", self.prediction_shift)
        check.flag("canary.prove_split", self.prove_split)

    @property
    def starts_within_s(self) -> float:
        """How long the canary may take to be ready, and its first counters to come."""
        return self.max_step_s

    @property
    def at_most_s(self) -> float:
        """How long the rollout can last."""
        people = len(self.manual) * (self.approval_s + self.max_step_s)
        return self.max_step_s + len(self.steps) * (3 * self.max_step_s + self.pause_s) + people

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What is tried, in order."""
        return tuple(Stage(SetWeight(weight), weight, splits=weight < 100) for weight in self.steps)

    @property
    def words(self) -> str:
        """The policy in a few words, for reports."""
        return f"canary {'-'.join(map(str, self.steps))} %"


@dataclass(frozen=True)
class ABTest(_Policy):
    """A fixed, sticky split that ends with the difference in one metric.

    The test ends once the interval of the difference excludes 0 or lies within ±`min_effect`, not before `min_s` and
    with NOT_ENOUGH_EVIDENCE at `max_s`. The metrics are the shares of failed and of slow requests, and of predictions
    above `cut`. With `promote` the canary replaces the baseline if it is better (fewer errors, fewer slow requests,
    more positive predictions) and keeps its SLO; otherwise the baseline serves on whatever was found.
    """

    percent: int = 50
    by: By = field(default_factory=ByUser)
    metric: Metric = "errors"
    cut: float = 0.5
    min_effect: float = 0.01
    max_s: float = 600.0
    min_s: float = 10.0
    promote: bool = False
    kind: Literal["ab"] = field(default="ab", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._check_shared("ab")
        check.number("ab.percent", self.percent, least=1, most=99, whole=True)
        check.instance("ab.by", self.by, (ByUser, ByHeader), "a user's header or a header and its value")
        check.header("ab.by", *((self.by.header,) if isinstance(self.by, ByUser) else (self.by.name, self.by.value)))
        check.choice("ab.metric", self.metric, METRICS)
        check.number("ab.cut", self.cut, least=-1e300)
        check.share("ab.min_effect", self.min_effect)
        self._check_numbers("ab", max_s=0.1, min_s=0.0)
        check.not_longer("ab.min_s", self.min_s, "max_s", self.max_s)
        check.flag("ab.promote", self.promote)

    @property
    def starts_within_s(self) -> float:
        """How long the canary may take to be ready, and its first counters to come."""
        return self.max_s

    @property
    def at_most_s(self) -> float:
        """How long the rollout can last."""
        return 3 * self.max_s

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is tried, in order."""
        return (Stage(Assign(self.percent, self.by), self.percent),)

    @property
    def words(self) -> str:
        """The policy in a few words, for reports."""
        share = f"{self.percent} % " if isinstance(self.by, ByUser) else ""
        return f"A/B {share}by {self.by}, {self.metric}"


@dataclass(frozen=True)
class BlueGreen(_Policy):
    """All traffic at once, from blue (the baseline) to green, with an instant way back.

    Green is warmed by copies of blue's requests for `warm_s` and `warm_requests`, then gets all traffic and holds it
    for `hold_s`, at most `max_hold_s` until it is proven. It is promoted when blue has answered nothing for `drain_s`;
    until then blue keeps all its replicas.
    """

    warm_s: float = 2.0
    warm_requests: int = 20
    hold_s: float = 5.0
    max_hold_s: float = 60.0
    drain_s: float = 2.0
    kind: Literal["blue-green"] = field(default="blue-green", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._check_shared("blue-green")
        self._check_numbers("blue-green", warm_s=0.0, warm_requests=0, hold_s=0.0, max_hold_s=0.1, drain_s=0.0)
        for name in ("warm_s", "hold_s", "drain_s"):
            check.not_longer(f"blue-green.{name}", getattr(self, name), "max_hold_s", self.max_hold_s)

    @property
    def warms(self) -> bool:
        """Whether green sees copies of the traffic before it gets any."""
        return self.warm_s > 0 or self.warm_requests > 0

    @property
    def starts_within_s(self) -> float:
        """How long green may take to be ready, and its first counters to come."""
        return self.max_hold_s

    @property
    def at_most_s(self) -> float:
        """How long the rollout can last."""
        return 6 * self.max_hold_s

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is tried, in order."""
        if not self.warms:
            return (Stage(SetWeight(100), 100),)
        # Green's latencies are told up to 0.1 s late: those of its first copies must not count as those of users.
        return (Stage(Mirror(100), 0), Stage(SetWeight(100), 100, settles_s=0.5))

    @property
    def words(self) -> str:
        """The policy in a few words, for reports."""
        return f"blue-green, hold {self.hold_s:g} s, drain {self.drain_s:g} s"


@dataclass(frozen=True)
class Shadow(_Policy):
    """Copies of `percent` of the requests go to the canary, whose answers no user sees.

    It ends well once at least `min_agreement` of the copies have the baseline's answer (±`tolerance`), the two
    distributions of predictions differ by at most `prediction_shift`, and the copies keep the SLO; None leaves a
    comparison out. Without a verdict after `max_s` it ends with NOT_ENOUGH_EVIDENCE.
    """

    percent: int = 100
    min_agreement: float | None = 0.99
    tolerance: float = 1e-6
    prediction_shift: float | None = None
    max_s: float = 120.0
    min_s: float = 1.0
    min_requests: int = 20
    promote: bool = False
    kind: Literal["shadow"] = field(default="shadow", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._check_shared("shadow")
        check.number("shadow.percent", self.percent, least=1, most=100, whole=True)
        for name in ("min_agreement", "prediction_shift"):
            if getattr(self, name) is not None:
                check.share(f"shadow.{name}", getattr(self, name))
        self._check_numbers("shadow", tolerance=0.0, max_s=0.1, min_s=0.0, min_requests=1)
        check.not_longer("shadow.min_s", self.min_s, "max_s", self.max_s)
        check.flag("shadow.promote", self.promote)

    @property
    def starts_within_s(self) -> float:
        """How long the canary may take to be ready, and its first counters to come."""
        return self.max_s

    @property
    def at_most_s(self) -> float:
        """How long the rollout can last."""
        return 3 * self.max_s

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is tried, in order."""
        return (Stage(Mirror(self.percent), 0),)

    @property
    def words(self) -> str:
        """The policy in a few words, for reports."""
        return f"shadow, {self.percent} % mirrored"


Policy = Canary | ABTest | BlueGreen | Shadow
