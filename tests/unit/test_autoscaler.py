"""The autoscaler decides as Kubernetes' does: every case here is computed by hand from the documentation's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.lifecycle.autoscaler import (
    DOWN,
    UP,
    AutoscalerSpec,
    History,
    MetricsModel,
    Observed,
    Policy,
    PolicyKind,
    Replica,
    Rules,
    Sample,
    Select,
    ServiceModel,
    Stage,
    Target,
    TargetKind,
    decide,
    predict,
    propose,
)

CPU = Target("cpu", 50)
SPEC = AutoscalerSpec(1, 10, (CPU,))
NOW = 10_000.0
LOAD = (Stage(0, 100), Stage(120, 0))


def replica(millicores: float | None, *, request: float = 200, **fields: Any) -> Replica:
    """A replica that is long ready and uses so much of what it requests."""
    samples = {} if millicores is None else {"cpu": Sample(millicores, NOW)}
    return replace(Replica(samples=samples, requests={"cpu": request}), **fields)


def asked(*replicas: Replica, spec: AutoscalerSpec = SPEC) -> int | None:
    observed = Observed(len(replicas), replicas)
    return propose(spec.targets[0], observed, spec, NOW).replicas


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        ((200,), 2),  # 200m of 200m is 100 %: twice the target
        ((110,), 1),  # 55 % is 1.1 times the target: the tolerance is inclusive
        ((112,), 2),  # 56 %: ceil(1.12)
        ((90, 90), 2),  # 45 %: 0.9 times
        ((60, 20), 1),  # 20 %: ceil(0.4 * 2)
        ((200, 200, 40), 5),  # 440 of 600 is 73 %: ceil(1.46 * 3)
    ],
)
def test_the_count_follows_the_ratio_of_metric_and_target_rounded_up(used: tuple[float, ...], wanted: int) -> None:
    assert asked(*(replica(each) for each in used)) == wanted


def test_the_documentations_example_of_a_value_per_replica() -> None:
    """200m measured against 100m doubles the replicas; 50m against 100m halves them."""
    spec = AutoscalerSpec(1, 100, (Target("cpu", 100, TargetKind.AVERAGE_VALUE),))
    assert asked(*(replica(200) for _ in range(4)), spec=spec) == 8
    assert asked(*(replica(50) for _ in range(4)), spec=spec) == 2


def test_a_replica_without_a_figure_counts_as_idle_when_there_is_too_much_to_do() -> None:
    """150 % with one replica; the second, silent one halves that to 75 %: 1.5 * 2 = 3, not 3 * 1 = 3 of one alone."""
    assert asked(replica(300), replica(None)) == 3
    assert asked(replica(220), replica(None)) == 2, "110 % becomes 55 %, which is within the tolerance"


def test_a_replica_without_a_figure_counts_as_busy_when_there_is_too_little_to_do() -> None:
    """20 % of two, 100 % of the third: 46 % in all, within the tolerance, so that nothing is taken away."""
    assert asked(replica(40), replica(40), replica(None)) == 3
    assert asked(*(replica(10) for _ in range(9)), replica(None)) == 3, "5 % of nine and 100 % of one are 14 %"


def test_replicas_that_are_not_ready_yet_dampen_a_scale_up_only() -> None:
    starting = replica(190, ready=False, started_at=NOW - 10, ready_changed_at=NOW - 10)
    assert asked(replica(200), starting) == 2, "100 % of one and 0 of the other are the target"
    assert asked(replica(400), starting) == 4, "200 % of one and 0 of the other are twice the target"
    assert asked(replica(315), starting, starting) == 3, "52 % of three is the target; 157 % of one would be four"
    assert asked(replica(50), starting) == 1, "the ready one alone decides to go down: ceil(0.5 * 1)"


def test_a_figure_that_may_be_of_the_start_does_not_count() -> None:
    """Ready for 5 s, measured over 15 s: the figure holds what the start used."""
    young = replica(900, started_at=NOW - 20, ready_changed_at=NOW - 5, samples={"cpu": Sample(900, NOW, 15)})
    assert asked(replica(100), young) == 2
    old = replace(young, ready_changed_at=NOW - 15)
    assert asked(replica(100), old) == 10, "500 % of the target by both: ceil(250 / 50 * 2)"


def test_a_pending_replica_counts_as_not_ready_and_an_ending_one_not_at_all() -> None:
    assert asked(replica(400), replica(None, pending=True)) == 4
    assert asked(replica(200), replica(200, ending=True)) == 2


def test_what_is_assumed_never_turns_the_direction_round() -> None:
    """30 % of the target with one, but one busy guess would ask for more: it stays."""
    assert asked(replica(90), replica(None)) == 2


def test_without_figures_or_requests_nothing_is_changed() -> None:
    silent = decide(SPEC, Observed(2, (replica(None), replica(None))), History(), NOW)
    assert (silent.replicas, silent.reason) == (2, "cpu: no metrics of a ready replica")
    unrequested = decide(SPEC, Observed(1, (replica(100, request=0),)), History(), NOW)
    assert (unrequested.replicas, unrequested.reason) == (1, "cpu: a replica does not request cpu")


def test_the_metric_that_asks_for_most_decides_and_a_silent_one_forbids_going_down() -> None:
    rate = Target("rps", 10, TargetKind.AVERAGE_VALUE)
    spec = AutoscalerSpec(1, 10, (CPU, rate), down=Rules(0, DOWN.policies))
    both = Replica(samples={"cpu": Sample(100, NOW), "rps": Sample(25, NOW)}, requests={"cpu": 200})
    assert decide(spec, Observed(1, (both,)), History(), NOW).replicas == 3
    idle = replica(20)
    assert decide(spec, Observed(2, (idle, idle)), History(), NOW).replicas == 2
    assert decide(replace(spec, targets=(CPU,)), Observed(2, (idle, idle)), History(), NOW).replicas == 1


def test_a_scale_up_is_at_most_the_double_or_four_more_in_fifteen_seconds() -> None:
    """From 1 with 20 times the target: 5 (four more), then 10 (the double) fifteen seconds later."""
    spec = AutoscalerSpec(1, 50, (CPU,))
    busy = replica(2000)
    first = decide(spec, Observed(1, (busy,)), History(), NOW)
    assert (first.replicas, first.reason) == (5, "ScaleUpLimit")
    soon = decide(spec, Observed(5, (busy,) * 5), first.history, NOW + 5)
    assert soon.replicas == 5, "the four of this period are used up"
    later = decide(spec, Observed(5, (busy,) * 5), soon.history, NOW + 15)
    assert later.replicas == 10


def test_the_bounds_hold_whatever_the_metric_says() -> None:
    spec = AutoscalerSpec(2, 3, (CPU,))
    busy = replica(2000)
    assert decide(spec, Observed(2, (busy, busy)), History(), NOW).reason == "TooManyReplicas"
    assert decide(spec, Observed(5, (busy,) * 5), History(), NOW).replicas == 3
    assert decide(spec, Observed(1, (busy,)), History(), NOW).replicas == 2
    assert decide(spec, Observed(0, ()), History(), NOW).replicas == 0, "zero switches it off"


def test_a_scale_down_waits_until_all_recommendations_of_the_window_agree() -> None:
    spec = AutoscalerSpec(1, 10, (CPU,), down=Rules(60, DOWN.policies))
    calm = (replica(20),) * 4
    seen = decide(spec, Observed(4, (replica(100),) * 4), History(), NOW)
    early = decide(spec, Observed(4, calm), seen.history, NOW + 59)
    assert (early.replicas, early.reason) == (4, "ScaleDownStabilized")
    late = decide(spec, Observed(4, calm), early.history, NOW + 60)
    assert late.replicas == 1


def test_a_scale_up_window_takes_the_lowest_recommendation() -> None:
    spec = AutoscalerSpec(1, 10, (CPU,), up=Rules(30, UP.policies))
    calm = decide(spec, Observed(1, (replica(100),)), History(), NOW)
    spike = decide(spec, Observed(1, (replica(400),)), calm.history, NOW + 15)
    assert (spike.replicas, spike.reason) == (1, "ScaleUpStabilized")
    assert decide(spec, Observed(1, (replica(400),)), spike.history, NOW + 30).replicas == 4


@pytest.mark.parametrize(("select", "wanted"), [(Select.MAX, 50), (Select.MIN, 76), (Select.DISABLED, 80)])
def test_scale_down_policies_as_the_documentation_has_them(select: Select, wanted: int) -> None:
    """4 a minute or a share of them: of 80 idle replicas the larger change takes 30, the smaller one 4."""
    policies = (Policy(PolicyKind.PODS, 4, 60), Policy(PolicyKind.PODS, 30, 60))
    spec = AutoscalerSpec(1, 100, (CPU,), down=Rules(0, policies, select))
    assert decide(spec, Observed(80, (replica(1),) * 80), History(), NOW).replicas == wanted


def test_a_percentage_of_what_there_was_when_the_period_began() -> None:
    """10 % of 80 is 8; within the same minute nothing more goes, though 10 % of 72 would be 7."""
    spec = AutoscalerSpec(1, 100, (CPU,), down=Rules(0, (Policy(PolicyKind.PERCENT, 10, 60),)))
    first = decide(spec, Observed(80, (replica(1),) * 80), History(), NOW)
    assert first.replicas == 72
    again = decide(spec, Observed(72, (replica(1),) * 72), first.history, NOW + 30)
    assert again.replicas == 72
    assert decide(spec, Observed(72, (replica(1),) * 72), again.history, NOW + 60).replicas == 64


@pytest.mark.parametrize(
    "make",
    [
        lambda: AutoscalerSpec(3, 2, (CPU,)),
        lambda: AutoscalerSpec(1, 2, ()),
        lambda: Target("cpu", 0),
        lambda: Policy(PolicyKind.PODS, 0, 15),
        lambda: predict(SPEC, (Stage(0, 10),), ServiceModel(0.01, 0.2, 5)),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(make: object) -> None:
    with pytest.raises(ConfigError, match=r"^autoscaler: .*expected"):
        make()  # type: ignore[operator]


def test_a_load_is_predicted_from_one_to_many_and_back() -> None:
    """100 rps of 4 ms are 0.4 cores: 400 % of one replica's target of 0.1, so four replicas serve it at the target."""
    spec = replace(SPEC, sync_s=5, down=Rules(30, DOWN.policies))
    service = ServiceModel(cpu_s_per_request=0.004, request_cores=0.2, start_s=5)
    found = predict(spec, LOAD, service, MetricsModel(10, 10))
    times = found.reactions
    assert times.peak == 4
    assert times.metric_s == 10, "the first scrape of the loaded service"
    assert times.decided_s is not None
    assert times.ready_s is not None
    assert times.metric_s <= times.decided_s < times.ready_s < 60
    assert times.back_s is not None
    assert 30 <= times.back_s <= 60, "the window, and the metrics' own delay"
    assert [look.desired for look in found.looks][-1] == 1


def test_a_prediction_is_the_same_each_time() -> None:
    service = ServiceModel(cpu_s_per_request=0.004, request_cores=0.2, start_s=5)
    assert predict(SPEC, LOAD, service) == predict(SPEC, LOAD, service)


def test_a_load_within_the_target_changes_nothing() -> None:
    found = predict(SPEC, LOAD, ServiceModel(cpu_s_per_request=0.001, request_cores=0.2, start_s=5))
    assert {look.desired for look in found.looks} == {1}
    assert found.reactions.back_s is None


def test_a_service_without_a_replica_is_predicted_from_zero_and_back() -> None:
    """The first request has a replica started at once; 50 a second at 20 for each are three; then none again."""
    spec = AutoscalerSpec(
        0, 5, (Target("rps", 20, TargetKind.EXTERNAL_AVERAGE),), sync_s=1, down=Rules(10, DOWN.policies)
    )
    service = ServiceModel(cpu_s_per_request=0, request_cores=1, start_s=1)
    found = predict(spec, (Stage(0, 50), Stage(30, 0)), service, MetricsModel(0.5, 3))
    assert found.reactions.decided_s == 0
    assert found.reactions.peak == 3
    assert found.reactions.back_s is not None
    assert 10 <= found.reactions.back_s <= 16
    assert found.looks[-1].desired == found.looks[-1].ready == 0
