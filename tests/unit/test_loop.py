"""The closed loop's decisions: one round an alert, none for a storm, and nothing that did not help stays or repeats."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from harness.errors import UsageError
from harness.lifecycle.loop import Answer, Do, LoopPolicy, Outcome, Phase, Seen, State, difference, step
from harness.report.record import AlertRecord, MetricRecord

POLICY = LoopPolicy(fresh_rows=1000, gather_s=60, recover_rows=500, recover_s=30, hold_s=600, cooldown_s=20)
GOOD, LOW, NONE = (MetricRecord(name="auc", value=v, low=v - 0.03, high=v + 0.03) for v in (0.66, 0.42, 0.5))


def alert(name: str = "RehearsalDrift", *, at: float = 10.0, over: float | None = None, key: str = "a") -> AlertRecord:
    labels = {"namespace": "production", "service": "risk"}
    return AlertRecord(
        name=name, labels=labels, summary="", fingerprint=key, started_at=at, told_at=at + 1, resolved_at=over
    )


def walk(*looks: tuple[float, Seen], policy: LoopPolicy = POLICY) -> tuple[State, list[Do]]:
    """The state after these looks, and what was to be done."""
    state, done = State(), []
    for now, seen in looks:
        state, todo = step(state, policy, seen, now)
        done += [todo] if todo else []
    return state, done


FIRING = Seen(alerts=[alert()])
OVER = Seen(alerts=[alert(over=40.0)])
GATHERED = replace(FIRING, rows=1200, before=GOOD, during=LOW)
YES = replace(FIRING, answer=Answer(True, "fine", version=2))
NO = replace(FIRING, answer=Answer(False, "it would not"))
RELEASED = ((11, FIRING), (15, GATHERED), (20, YES), (22, YES), (30, YES))
"""Looks up to the moment at which the new version has all traffic."""


def test_without_an_alert_nothing_is_done() -> None:
    """Nor for alerts that the policy does not name."""
    state, done = walk((1, Seen()), (2, Seen(alerts=[alert("RehearsalRegistryDown")])))
    assert (state.phase, state.rounds, done) == (Phase.WATCHING, (), [])


def test_an_alert_leads_to_a_better_version_step_by_step() -> None:
    """Train, judge, release; recovered once the quality is proven and the alert is over; every moment is noted."""
    state, done = walk(*RELEASED, (35, replace(FIRING, after=GOOD, after_rows=500)), (41, OVER))
    assert done == [Do.TRAIN, Do.JUDGE, Do.RELEASE]
    ended = state.round
    assert (ended.outcome, ended.version, ended.rows) == (Outcome.RECOVERED, 2, 1200)
    moments = [
        ended.alerted_at,
        ended.gathered_at,
        ended.trained_at,
        ended.judged_at,
        ended.released_at,
        ended.ended_at,
    ]
    assert moments == [11, 15, 20, 22, 30, 41]
    assert ended.reason.startswith("quality (auc): before 0.660 (")
    assert ", shifted 0.420 (" in ended.reason
    assert ", retrained 0.660 (" in ended.reason


def test_quality_alone_is_no_recovery_while_the_alert_holds() -> None:
    """It is told as better and still alerting when the time is over, and the version stays."""
    better = replace(FIRING, after=GOOD, after_rows=500)
    early, _ = walk(*RELEASED, (35, better))
    late, done = walk(*RELEASED, (35, better), (60, better))
    assert early.phase is Phase.RECOVERING
    assert (late.round.outcome, Do.REVERT in done) == (Outcome.STILL_ALERTING, False)


def test_an_alert_storm_begins_one_round() -> None:
    """Fifty alerts while it is under way are counted and join it."""
    storm = [alert(key=str(number), at=20.0) for number in range(50)]
    state, done = walk((11, FIRING), (12, replace(FIRING, alerts=[alert(), *storm])), (15, GATHERED), (20, YES))
    assert (len(state.rounds), state.round.joined, done.count(Do.TRAIN)) == (1, 50, 1)


def test_the_alerts_that_fire_together_begin_it_together() -> None:
    both = Seen(alerts=[alert(), alert("RehearsalQualityDrop", key="b")], since=4.0)
    state, _ = walk((11, both))
    assert (state.round.alerts, state.round.since) == (["RehearsalDrift", "RehearsalQualityDrop"], 4.0)
    assert state.round.service == "production/risk"


@pytest.mark.parametrize(
    ("looks", "outcome"),
    [
        pytest.param(((11, FIRING), (71, replace(FIRING, rows=999))), Outcome.NO_DATA, id="too few rows"),
        pytest.param(((11, FIRING), (15, GATHERED), (20, NO)), Outcome.FAILED, id="training failed"),
        pytest.param(((11, FIRING), (15, GATHERED), (20, YES), (22, NO)), Outcome.REFUSED, id="refused"),
        pytest.param(((11, FIRING), (15, GATHERED), (20, YES), (22, YES), (30, NO)), Outcome.ROLLED_BACK, id="canary"),
    ],
)
def test_a_round_that_ends_early_holds_the_loop(looks: tuple[tuple[float, Seen], ...], outcome: Outcome) -> None:
    """The alert still fires: nothing begins until the hold is over, and then again."""
    last = looks[-1][0]
    held, before = walk(*looks, (last + 1, FIRING), (last + 599, FIRING))
    again, _ = walk(*looks, (last + 600, FIRING))
    assert (held.round.outcome, len(held.rounds), held.phase) == (outcome, 1, Phase.WATCHING)
    assert held.round.reason
    assert (len(again.rounds), again.phase) == (2, Phase.GATHERING)
    assert before.count(Do.TRAIN) <= 1


def test_a_new_alert_during_the_hold_is_counted_and_ignored() -> None:
    late = Seen(alerts=[alert(), alert("RehearsalQualityDrop", key="late", at=100.0)])
    state, _ = walk((11, FIRING), (15, GATHERED), (20, NO), (101, late), (102, late))
    assert (len(state.rounds), state.round.ignored, state.round.joined) == (1, 1, 0)


def test_a_version_that_makes_it_worse_is_taken_back_at_once() -> None:
    worse = MetricRecord(name="auc", value=0.30, low=0.27, high=0.33)
    state, done = walk(*RELEASED, (35, replace(FIRING, after=worse, after_rows=500)), (44, YES), (45, FIRING))
    assert done[-1] is Do.REVERT
    assert (state.round.outcome, state.phase, len(state.rounds)) == (Outcome.NOT_HELPED, Phase.WATCHING, 1)
    assert state.round.reason.startswith("worse: quality (auc): before 0.660")


def test_a_version_that_is_no_better_is_taken_back_when_its_time_is_over() -> None:
    """Quality had dropped: no worse is not enough, even if the alert is over."""
    same = replace(OVER, after=LOW, after_rows=500)
    early, _ = walk(*RELEASED, (50, same))
    _, done = walk(*RELEASED, (50, same), (60, same))
    assert early.phase is Phase.RECOVERING
    assert done[-1] is Do.REVERT


def test_without_a_drop_a_version_that_ends_the_drift_and_is_no_worse_stays() -> None:
    """Drift of the inputs that cost no quality."""
    harmless = replace(FIRING, rows=1200, before=GOOD, during=GOOD)
    same = replace(OVER, after=GOOD, after_rows=500)
    state, done = walk((11, FIRING), (15, harmless), (20, YES), (22, YES), (30, YES), (50, same), (60, same))
    assert (state.round.outcome, Do.REVERT in done) == (Outcome.RECOVERED, False)
    assert state.round.reason.startswith("no worse")


def test_what_cannot_be_taken_back_is_told() -> None:
    state, _ = walk(*RELEASED, (60, FIRING), (70, NO))
    assert state.round.outcome == Outcome.STUCK
    assert "it would not" in state.round.reason


def test_quality_is_looked_at_when_the_rows_have_doubled() -> None:
    """Looking at every moment would find a difference by chance in the end."""
    first = replace(FIRING, after=NONE, after_rows=500)
    lucky = replace(FIRING, after=MetricRecord(name="auc", value=0.9, low=0.89, high=0.91), after_rows=900)
    ignored, _ = walk(*RELEASED, (35, first), (36, lucky))
    taken, _ = walk(*RELEASED, (35, first), (36, replace(lucky, after_rows=1000)))
    assert ignored.round.after == NONE
    assert taken.round.after == lucky.after


def test_recovery_begins_a_cooldown() -> None:
    done = (*RELEASED, (35, replace(FIRING, after=GOOD, after_rows=500)), (41, OVER))
    fresh = Seen(alerts=[alert(over=40.0), alert(key="b", at=50.0)])
    early, _ = walk(*done, (60, fresh))
    late, _ = walk(*done, (61, fresh))
    assert (len(early.rounds), len(late.rounds)) == (1, 2)


def test_a_difference_counts_standard_errors_and_knows_which_end_is_better() -> None:
    """Half-width 0.0588 is a standard error of 0.03; of two that is 0.0424: 0.1 is 2.36 of them."""
    old, new = (MetricRecord(name="auc", value=v, low=v - 0.0588, high=v + 0.0588) for v in (0.6, 0.7))
    assert difference(old, new) == pytest.approx(2.357, abs=0.001)
    errors = [metric.model_copy(update={"name": "rmse"}) for metric in (old, new)]
    assert difference(*errors) == pytest.approx(-2.357, abs=0.001)
    exact = [MetricRecord(name="auc", value=v, low=v, high=v) for v in (0.6, 0.6, 0.7)]
    assert [difference(*pair) for pair in pairwise(exact)] == [0.0, float("inf")]


@pytest.mark.parametrize(
    ("field", "value"), [("fresh_rows", 10), ("recover_rows", 0), ("gather_s", 0), ("hold_s", -1), ("alerts", ())]
)
def test_an_impossible_policy_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"loop.{field}: expected"):
        replace(POLICY, **{field: value})
