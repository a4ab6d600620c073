"""The figures of Kubernetes 1.34's own edge cases (replica_calculator_test.go, horizontal_test.go), decided here alike.

Values are theirs: thousandths used, thousandths requested, the target, the count that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.lifecycle.autoscaler import (
    DOWN,
    UP,
    AutoscalerSpec,
    History,
    Observed,
    Policy,
    PolicyKind,
    Replica,
    Rules,
    Sample,
    Target,
    TargetKind,
    decide,
    propose,
)

NOW = 100_000.0
NEVER_READY: dict[str, Any] = {"ready": False, "started_at": NOW - 200, "ready_changed_at": NOW - 200}
HOT: dict[str, Any] = {"started_at": NOW - 10, "ready_changed_at": NOW - 5}  # measured over 60 s, ready for 5
FAILED: dict[str, Any] = {"ready": False, "ending": True}
DELETED: dict[str, Any] = {"ending": True}
PENDING: dict[str, Any] = {"ready": False, "pending": True}
OK: dict[str, Any] = {}


@dataclass(frozen=True)
class Case:
    """What the replicas used (None: no figure), what each requested, the target, and what upstream answers."""

    current: int
    used: Sequence[int | None]
    target: float
    wanted: int | None
    requested: Sequence[int] = (1000,) * 6
    fields: Sequence[dict[str, Any]] = (OK,) * 10
    kind: TargetKind = TargetKind.UTILIZATION


def value(current: int, used: Sequence[int | None], target: float, wanted: int, **more: Any) -> Case:
    """A case of a value per replica; the metric is not the CPU."""
    return Case(current, used, target, wanted, kind=TargetKind.AVERAGE_VALUE, **more)


REPLICAS = {
    "scale up": Case(3, (300, 500, 700), 30, 5),
    "one not ready: less": Case(3, (300, 500, 700), 30, 4, fields=(NEVER_READY, OK, OK)),
    "one just started: less": Case(3, (300, 500, 700), 30, 4, fields=(HOT, OK, OK)),
    "two not ready: none": Case(3, (400, 500, 700), 30, 3, fields=(OK, NEVER_READY, NEVER_READY)),
    "two just started: none": Case(3, (400, 500, 700), 30, 3, fields=(OK, HOT, HOT)),
    "failed ones are ignored": Case(2, (500, 700, None, None), 30, 4, fields=(OK, OK, FAILED, FAILED)),
    "deleted ones are ignored": Case(2, (500, 700, None, None), 30, 4, fields=(OK, OK, DELETED, DELETED)),
    "a value": value(3, (20000, 10000, 30000), 15, 4),
    "a value counts those not ready": value(3, (50000, 10000, 30000), 15, 6, fields=(OK, OK, HOT)),
    "a value of three": value(3, (50000, 15000, 30000), 15, 7, fields=(HOT, OK, HOT)),
    "a value of one": value(1, (8600,), 4.4, 2),
    "scale down": Case(5, (100, 300, 500, 250, 250), 50, 3),
    "a value, down": value(5, (12000,) * 5, 20, 3),
    "down without those not ready": Case(
        5, (100, 300, 500, 250, 250), 50, 2, fields=(OK, OK, OK, NEVER_READY, NEVER_READY)
    ),
    "down without those pending": Case(5, (100, None, None, None, None), 50, 1, fields=(OK, *(PENDING,) * 4)),
    "down without those just started": Case(5, (100, 300, 500, 250, 250), 50, 2, fields=(OK, OK, OK, HOT, HOT)),
    "down, failed ones ignored": Case(
        5, (100, 300, 500, 250, 250, None, None), 50, 3, requested=(1000,) * 7, fields=(*(OK,) * 5, FAILED, FAILED)
    ),
    "tolerance": Case(3, (1010, 1030, 1020), 100, 3, requested=(900, 1000, 1100)),
    "tolerance of a value": value(3, (20000, 21000, 21000), 20, 3),
    "beyond the tolerance": Case(3, (1890, 1910, 1900), 100, 6, requested=(900, 1000, 1100)),
    "exactly one tenth above": Case(3, (1100, 1100, 1100), 100, 3),
    "exactly one tenth below": Case(3, (900, 900, 900), 100, 3),
    "percent are whole: 110.9 is 110": Case(3, (1109, 1109, 1109), 100, 3),
    "66 of 60": Case(3, (660, 660, 660), 60, 3),
    "four wildly above": Case(4, (4000, 9500, 3000, 7000), 100, 24),
    "two without a figure, down": Case(4, (400, 95, None, None), 100, 3),
    "none with a figure": Case(4, (None,) * 4, 100, None),
    "no request": Case(1, (200,), 100, None, requested=(0,)),
    "no request of one that is pending": Case(2, (200, None), 100, None, requested=(1000, 0), fields=(OK, PENDING)),
    "a value, two without a figure, at the target": value(5, (20000, 19000, 21000, None, None), 20, 5),
    "one without a figure, at the target": Case(2, (1000, None), 100, 2),
    "one without a figure, above": Case(2, (1900, None), 100, 2),
    "one without a figure, below": Case(2, (600, None), 100, 2),
    "one not ready, one without a figure": Case(3, (100, 450, None), 50, 3, fields=(NEVER_READY, OK, OK)),
    "one just started, one without a figure": Case(3, (100, 450, None), 50, 3, fields=(HOT, OK, OK)),
    "the same, far above": Case(3, (100, 2000, None), 50, 4, fields=(NEVER_READY, OK, OK)),
    "the same, just started, far above": Case(3, (100, 2000, None), 50, 4, fields=(HOT, OK, OK)),
    "the same, below": Case(4, (100, 100, 100, None), 50, 3, fields=(NEVER_READY, OK, OK, OK)),
    "a target above 100": Case(
        4, (200, 100, 100, None), 300, 2, requested=(1000, 1000, 2000, 2000), fields=(NEVER_READY, OK, OK, OK)
    ),
    "a rolling update's third": Case(2, (100, 100, None), 50, 2),
    "a rolling update's third, of a value": value(2, (10000, 10000, None), 17, 2),
}


@pytest.mark.parametrize("case", REPLICAS.values(), ids=REPLICAS)
def test_a_figure_of_each_replica(case: Case) -> None:
    metric = "cpu" if case.kind is TargetKind.UTILIZATION else "qps"
    target = Target(metric, case.target, case.kind)
    replicas = tuple(
        Replica(
            **{
                "started_at": NOW - 3600,
                "ready_changed_at": NOW - 3600,
                "samples": {} if used is None else {metric: Sample(used / 1000, NOW, 60)},
                "requests": {"cpu": requested / 1000},
                **fields,
            }
        )
        for used, requested, fields in zip(case.used, _padded(case.requested), _padded(case.fields), strict=False)
    )
    spec = AutoscalerSpec(1, 100, (target,), initialisation_s=120, first_readiness_s=10)
    assert propose(target, Observed(case.current, replicas), spec, NOW).replicas == case.wanted


def _padded(values: Sequence[Any]) -> list[Any]:
    return [*values, *[values[-1]] * 10]


@pytest.mark.parametrize(
    ("kind", "current", "total", "target", "wanted"),
    [
        (TargetKind.EXTERNAL_AVERAGE, 3, 8.6, 2.15, 4),
        (TargetKind.EXTERNAL_AVERAGE, 5, 8.6, 2.867, 3),
        (TargetKind.EXTERNAL_AVERAGE, 3, 8.6, 2.9, 3),
        (TargetKind.EXTERNAL_AVERAGE, 3, 20.0, 5.0, 4),
        (TargetKind.EXTERNAL_AVERAGE, 4, 20.166, 5.0, 4),
        (TargetKind.EXTERNAL_AVERAGE, 0, 0.0, 5.0, 0),
        (TargetKind.EXTERNAL_AVERAGE, 0, 0.4, 5.0, 1),
        (TargetKind.EXTERNAL_AVERAGE, 0, 11.0, 5.0, 3),
        (TargetKind.EXTERNAL_VALUE, 5, 8.6, 14.334, 3),
        (TargetKind.EXTERNAL_VALUE, 3, 8.6, 8.888, 3),
        (TargetKind.EXTERNAL_VALUE, 3, 20.0, 15.0, 4),
        (TargetKind.EXTERNAL_VALUE, 0, 30.0, 15.0, 2),
        (TargetKind.EXTERNAL_VALUE, 1, 0.0, 15.0, 0),
    ],
)
def test_a_figure_of_the_whole_service(
    kind: TargetKind, current: int, total: float, target: float, wanted: int
) -> None:
    aim = Target("qps", target, kind)
    observed = Observed(current, tuple(Replica() for _ in range(current)), {"qps": total})
    assert propose(aim, observed, AutoscalerSpec(0, 100, (aim,)), NOW).replicas == wanted


def test_only_ready_replicas_count_where_the_target_is_one_for_all() -> None:
    """One of three is ready: 50 against 10 are five, not fifteen; 8.6 against 4.4 are two, not six."""
    unready = Replica(ready=False)
    for total, target, wanted in ((50.0, 10.0, 5), (8.6, 4.4, 2)):
        aim = Target("qps", target, TargetKind.EXTERNAL_VALUE)
        observed = Observed(3, (unready, Replica(), unready), {"qps": total})
        assert propose(aim, observed, AutoscalerSpec(1, 100, (aim,)), NOW).replicas == wanted


def rules(pods: int = 0, pods_s: float = 60, percent: int = 0, percent_s: float = 60, window_s: float = 0) -> Rules:
    found = [Policy(PolicyKind.PODS, pods, pods_s)] if pods else []
    found += [Policy(PolicyKind.PERCENT, percent, percent_s)] if percent else []
    return Rules(window_s, tuple(found))


def uniform(counts: Sequence[int], within_s: float) -> tuple[tuple[float, int], ...]:
    """Changes spread evenly over the last `within_s` seconds, as upstream's generator of them."""
    step = within_s / (len(counts) + 1)
    return tuple((NOW - within_s + (index + 1) * step, count) for index, count in enumerate(counts))


LOT = uniform((1, 5, 9), 120)


@pytest.mark.parametrize(
    ("bounds", "current", "asked", "wanted", "reason", "more"),
    [
        ((3, 8), 5, 7, 7, "", {}),
        ((2, 8), 3, 1, 2, "TooFewReplicas", {}),
        ((1, 150), 100, 1000, 150, "TooManyReplicas", {}),
        ((1, 2000), 3, 1000, 4, "ScaleUpLimit", {"up": rules(percent=1)}),
        ((3, 2000), 1000, 3, 980, "ScaleDownLimit", {"down": rules(pods=20)}),
        ((1, 1000), 10, 50, 20, "ScaleUpLimit", {}),
        ((1, 1000), 10, 500, 110, "ScaleUpLimit", {"up": rules(100, 60, 100, 60)}),
        ((1, 1000), 10, 500, 20, "ScaleUpLimit", {"up": rules(2, 60, 100, 60)}),
        ((1, 1000), 10, 50, 50, "", {"up": rules(100)}),
        ((1, 1000), 10, 50, 40, "ScaleUpLimit", {"up": rules(30)}),
        ((1, 1000), 10, 50, 30, "ScaleUpLimit", {"up": rules(percent=200)}),
        ((1, 1000), 100, 2, 80, "ScaleDownLimit", {"down": rules(20, 60, 1, 60)}),
        ((1, 1000), 100, 2, 98, "ScaleDownLimit", {"down": rules(2, 60, 1, 60)}),
        ((5, 1000), 10, 2, 5, "TooFewReplicas", {"down": rules(percent=100)}),
        ((1, 1000), 10, 2, 5, "ScaleDownLimit", {"down": rules(5)}),
        ((1, 1000), 10, 5, 5, "", {"down": rules(percent=50)}),
        ((1, 200), 100, 500, 200, "TooManyReplicas", {"up": rules(300), "added": LOT}),
        ((1, 1000), 100, 500, 100, "ScaleUpLimit", {"up": rules(5, 120), "added": LOT}),
        ((1, 1000), 100, 500, 235, "ScaleUpLimit", {"up": rules(150, 120), "added": LOT}),
        ((1, 1000), 100, 500, 255, "ScaleUpLimit", {"up": rules(percent=200, percent_s=120), "added": LOT}),
        (
            (1, 1000), 6, 24, 16, "ScaleUpLimit",
            {"up": rules(percent=300, percent_s=300), "added": uniform((4,), 120), "removed": uniform((2,), 120)},
        ),
        ((1, 1000), 10, 5, 5, "", {"removed": LOT}),
        ((1, 1000), 100, 0, 1, "TooFewReplicas", {"down": rules(115, 120), "removed": LOT}),
        ((5, 1000), 100, 0, 5, "TooFewReplicas", {"down": rules(130, 120), "removed": LOT}),
        ((1, 1000), 100, 2, 100, "ScaleDownLimit", {"down": rules(5, 120), "removed": LOT}),
        ((1, 1000), 100, 200, 111, "ScaleUpLimit", {"up": rules(percent=10)}),  # 100 * 1.1 is a little above 110
    ],
)  # fmt: skip
def test_bounds_and_policies(
    bounds: tuple[int, int], current: int, asked: int, wanted: int, reason: str, more: dict[str, Any]
) -> None:
    target = Target("qps", 1, TargetKind.EXTERNAL_AVERAGE)
    down = replace(DOWN, stabilisation_s=0)
    spec = AutoscalerSpec(*bounds, (target,), up=more.get("up", UP), down=more.get("down", down))
    history = History(((NOW - 1000, current),), more.get("added", ()), more.get("removed", ()))
    found = decide(spec, Observed(current, (Replica(),) * current, {"qps": asked}), history, NOW)
    assert found.replicas == wanted
    if reason:
        assert found.reason == reason


@pytest.mark.parametrize(
    ("bounds", "current", "asked", "wanted", "reason"),
    [
        ((3, 8), 5, 7, 7, ""),
        ((1, 10), 2, 10, 4, "ScaleUpLimit"),
        ((1, 10), 1, 10, 4, "ScaleUpLimit"),
        ((1, 100), 10, 100, 20, "ScaleUpLimit"),
        ((1, 10), 8, 1000, 10, "TooManyReplicas"),
        ((2, 10), 9, 1, 2, "TooFewReplicas"),
        ((0, 10), 1, 0, 0, ""),
    ],
)
def test_an_object_without_a_behavior_has_bounds_and_the_double_or_four(
    bounds: tuple[int, int], current: int, asked: int, wanted: int, reason: str
) -> None:
    target = Target("qps", 1, TargetKind.EXTERNAL_AVERAGE)
    spec = AutoscalerSpec(*bounds, (target,), down=Rules(60, ()), behavior=False)
    history = History(((NOW - 1000, current),))
    found = decide(spec, Observed(current, (Replica(),) * current, {"qps": asked}), history, NOW)
    assert found.replicas == wanted
    if reason:
        assert found.reason == reason


def test_without_a_behavior_the_highest_recommendation_of_the_window_holds_the_count() -> None:
    """Of 10, 9, 8 in the last minute and 5 before it, with 7 asked for: 10; upstream's window has both its ends."""
    target = Target("qps", 1, TargetKind.EXTERNAL_AVERAGE)
    spec = AutoscalerSpec(1, 20, (target,), down=Rules(60, ()), behavior=False)
    said = ((NOW - 61, 15), (NOW - 60, 10), (NOW - 40, 9), (NOW - 20, 8))
    found = decide(spec, Observed(10, (Replica(),) * 10, {"qps": 7}), History(said), NOW)
    assert (found.replicas, found.reason) == (10, "ScaleDownStabilized")


def test_only_a_figure_of_the_whole_service_may_scale_to_zero() -> None:
    """The API server asks for an Object or External metric, because no replica has no figure of its own."""
    with pytest.raises(ConfigError, match="minReplicas 0: expected a metric of the whole service"):
        AutoscalerSpec(0, 3, (Target("cpu", 50),))
