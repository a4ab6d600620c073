"""Canaries on a virtual clock: pauses, people, readings that are old, splits, and roll backs that are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from harness.errors import PlatformError, ServiceFailed
from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import drive
from harness.lifecycle.rollout import Approval, Canary, Outcome, Phase, State
from harness.lifecycle.rollout.state import Counter
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts, split_requests_needed
from harness.runtime.clock import Deadline, VirtualClock
from tests.unit.simulated import GOOD, Simulated, rehearse

LOOSE = SLO(errors=0.02)


def test_a_proven_step_goes_on_for_its_pause() -> None:
    """The pause lengthens each step, and its requests count as evidence."""
    phases = list[Phase]()
    record = rehearse(
        Simulated(VirtualClock()), Canary(LOOSE, pause_s=30.0), on_state=lambda state: phases.append(state.phase)
    )
    assert record.outcome == Outcome.PROMOTED
    assert Phase.PAUSED in phases
    assert all(step.duration_s >= 30 for step in record.steps)


def test_a_canary_that_breaks_in_its_pause_is_rolled_back() -> None:
    """A step that was proven is still watched."""
    serving = Simulated(VirtualClock())

    def breaks() -> None:
        if serving.clock.now() > 60:
            serving.behaviour["v2"] = (0.5, 0.0)

    serving.counters = breaks
    record = rehearse(serving, Canary(LOOSE, pause_s=100.0))
    assert record.outcome == Outcome.ROLLED_BACK
    assert [step.percent for step in record.steps] == [10]
    assert 60 < record.duration_s < 70


def test_a_manual_gate_waits_for_a_person_and_goes_on_when_approved() -> None:
    """The record says who, and how long it took."""
    serving = Simulated(VirtualClock())
    asked = list[float]()

    def approve(state: State) -> Approval | None:
        asked.append(serving.clock.now())
        return Approval(50, approved=True, by="ada") if serving.clock.now() > asked[0] + 120 else None

    record = rehearse(serving, Canary(LOOSE, manual=(50,)), approve=approve)
    assert record.outcome == Outcome.PROMOTED
    (gate,) = record.approvals
    assert (gate.percent, gate.answer, gate.by) == (50, "approved", "ada")
    assert gate.answered_at is not None
    assert gate.answered_at - gate.asked_at == pytest.approx(120, abs=0.5)
    assert record.steps[1].duration_s >= 120


def test_a_refused_gate_rolls_back() -> None:
    """The reason names the person and the weight."""
    serving = Simulated(VirtualClock())
    record = rehearse(
        serving, Canary(LOOSE, manual=(10, 50)), approve=lambda state: Approval(state.percent, False, "grace")
    )
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason == "refused by grace at 10 %"
    assert serving.calls == ["start", "weight 10", "roll back"]


def test_an_approval_of_an_earlier_gate_opens_no_later_one() -> None:
    """What was said about 10 % is no answer for 50 %: nobody approved that, so the baseline serves on."""
    serving = Simulated(VirtualClock())
    record = rehearse(
        serving,
        Canary(LOOSE, manual=(10, 50), approval_s=40),
        approve=lambda state: Approval(10, approved=True, by="ada"),
    )
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert record.reason == "nobody approved 50 % within 40 s"
    assert [gate.answer for gate in record.approvals] == ["approved", "nobody answered"]
    assert "promote" not in serving.calls


def test_a_canary_that_breaks_while_a_person_thinks_is_rolled_back_without_them() -> None:
    """A gate is no shelter."""
    serving = Simulated(VirtualClock())

    def breaks() -> None:
        if serving.clock.now() > 50:
            serving.behaviour["v2"] = (0.5, 0.0)

    serving.counters = breaks
    record = rehearse(serving, Canary(LOOSE, manual=(10,)))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason.startswith("errors")


def test_an_approval_does_not_replace_evidence() -> None:
    """Traffic stops after the step was proven: approved or not, the canary is not moved on."""
    serving = Simulated(VirtualClock())

    def approve(state: State) -> Approval | None:
        serving.rps = 1e-9
        return Approval(10, approved=True) if serving.clock.now() > 60 else None

    record = rehearse(serving, Canary(LOOSE, manual=(10,), max_step_s=30), approve=approve)
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "no new request of the canary was counted" in record.reason
    assert serving.calls == ["start", "weight 10", "roll back"]


@pytest.mark.parametrize("late_s", [5.5, 60.0])
def test_readings_that_are_too_old_never_promote(late_s: float) -> None:
    """A metrics source that lags more than max_age_s is as good as none."""
    serving = Simulated(VirtualClock(), late_s=late_s)
    record = rehearse(serving, Canary(LOOSE, max_step_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert record.reason.startswith("no counters within 20 s")
    assert serving.calls == ["start", "weight 10", "roll back"]


def test_counters_that_are_away_are_told_once_each_time() -> None:
    """A gateway that is away for a minute is one event, not one for each look; away again is another."""
    serving, told = Simulated(VirtualClock()), list[str]()

    def away() -> None:
        if int(serving.clock.now()) in (2, 3, 4, 6):
            raise httpx.ConnectError("refused")

    serving.counters = away
    deadline = Deadline.after(600, serving.clock)
    record = drive(Canary(LOOSE), serving, serving.clock, deadline, lambda kind, *_: told.append(kind))
    assert record.outcome == Outcome.PROMOTED
    assert told.count("rollout.blind") == 2


def test_a_revision_that_is_missing_from_a_reading_is_not_counted_twice() -> None:
    """Counters that come back as they were are no new evidence; those of a gateway that was restarted are."""
    counter = Counter()
    for requests in (100, 0, 110, 0, 20, 30):
        counter = counter.advanced(Counts(requests))
    assert counter.total == Counts(110 + 30)


def test_readings_that_are_a_little_old_promote() -> None:
    """Prometheus is always behind a little."""
    assert rehearse(Simulated(VirtualClock(), late_s=4.5)).outcome == Outcome.PROMOTED


def test_latencies_that_cannot_be_trusted_neither_promote_nor_roll_back() -> None:
    """The generator was late: all requests look slow, and the verdict on that is withheld, with the reason."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.0, 1.0)}, distrust="the generator was late")
    record = rehearse(serving, Canary(LOOSE, max_step_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "the generator was late" in record.reason


def test_a_step_lasts_until_its_split_is_proven_if_that_is_asked_for() -> None:
    """The number of requests that a test of ±5 points at 99.9 % needs is computed, and waited for."""
    record = rehearse(Simulated(VirtualClock()), Canary(LOOSE, steps=(20, 100), prove_split=True))
    assert record.outcome == Outcome.PROMOTED
    (split,) = record.split["steps"]
    assert split_requests_needed(0.2) <= split["requests"] <= split_requests_needed(0.2) + 100
    assert rehearse(Simulated(VirtualClock()), Canary(LOOSE, steps=(20, 100))).duration_s < record.duration_s


def test_a_canary_that_answers_otherwise_is_rolled_back() -> None:
    """90 % positive predictions where the baseline has 30 %: no error, and not the same model."""
    serving = Simulated(VirtualClock(), positive={"v1": 0.3, "v2": 0.9})
    record = rehearse(serving, Canary(LOOSE, prediction_shift=0.1))
    assert record.outcome == Outcome.ROLLED_BACK
    assert "prediction" in record.reason
    assert record.answers is not None
    assert record.answers.shift == pytest.approx(0.6, abs=0.2)


def test_a_canary_that_answers_alike_is_promoted_on_the_evidence_of_the_steps_with_a_baseline() -> None:
    """At 100 % the baseline predicts nothing, and what was shown before still counts."""
    serving = Simulated(VirtualClock(), rps=1000, positive={"v1": 0.3, "v2": 0.31})
    policy = Canary(LOOSE, steps=(50, 100), prediction_shift=0.2, min_step_s=20.0)
    assert rehearse(serving, policy).outcome == Outcome.PROMOTED


def test_predictions_that_are_counted_anew_are_judged_by_what_came_since() -> None:
    """The process that goes on with a rollout counts from zero, at cuts of its own; earlier steps keep their counts."""
    serving = Simulated(VirtualClock(), rps=1000, positive={"v1": 0.3, "v2": 0.31})
    anew = iter([Answers((0.25,), (0,), (0,))])

    def restart() -> None:
        if serving.clock.now() > 30:
            serving.predictions = next(anew, serving.predictions)

    serving.counters = restart
    policy = Canary(LOOSE, steps=(20, 50, 100), prediction_shift=0.2, min_step_s=20.0)
    record = rehearse(serving, policy)
    assert record.outcome == Outcome.PROMOTED, record.reason
    met = sum(step.counts[1].requests for step in record.steps)
    predictions = next(guard for guard in record.steps[-1].guards if guard.guard == "predictions")
    assert predictions.requests == pytest.approx(met - 10 * 500, rel=0.1)  # those of 10 s at 50 % were lost


def test_a_canary_whose_predictions_nobody_tells_is_not_promoted() -> None:
    """A guard without data is a lack of evidence."""
    record = rehearse(Simulated(VirtualClock()), Canary(LOOSE, prediction_shift=0.1, max_step_s=30))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE


def test_a_roll_back_that_fails_is_tried_again() -> None:
    """The gateway is away for a while: the rollout ends once the baseline has the traffic."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.5, 0.0)})
    works = serving.roll_back
    refused = list[float]()

    def fails_for_a_while() -> None:
        if len(refused) < 20:
            refused.append(serving.clock.now())
            raise ServiceFailed("the gateway is away")
        works()

    serving.roll_back = fails_for_a_while  # type: ignore[method-assign]
    record = rehearse(serving)
    assert record.outcome == Outcome.ROLLED_BACK
    assert refused[-1] - refused[0] == pytest.approx(1.8)
    assert record.rollback is not None
    assert record.rollback.effective_at - record.rollback.decided_at == pytest.approx(2.0, abs=0.2)


def test_a_roll_back_that_fails_for_good_is_an_error_in_the_stated_time() -> None:
    """The policy says how long a roll back may take; after that it is for people."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.5, 0.0)})

    def fails() -> None:
        raise ServiceFailed("the gateway is away")

    serving.roll_back = fails  # type: ignore[method-assign]
    started = serving.clock.now()
    with pytest.raises(PlatformError, match="no roll back within 5 s: the gateway is away"):
        rehearse(serving, Canary(LOOSE, rollback_within_s=5))
    assert serving.clock.now() - started < 10


def test_the_record_says_what_the_canary_had_cost() -> None:
    """From the first bad answer to no traffic, the users that were harmed, and the share of the error budget."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0.0, 0.0), "v2": (0.5, 0.0)})
    record = rehearse(serving, Canary(SLO(errors=0.02, slow=0.08)))
    cost = record.rollback
    assert cost is not None
    assert cost.harmed == serving.totals["v2"].failed
    assert cost.requests == pytest.approx(200 * record.duration_s, abs=30)
    assert cost.budget_share == pytest.approx(cost.harmed / (0.1 * cost.requests))
    assert cost.first_bad_at is not None
    assert 0 < cost.reaction_s < 5


def test_the_first_bad_answers_are_told_once_with_what_was_wrong() -> None:
    """At once, so that what the machine was doing then can be noted."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0.0, 0.0), "v2": (0.0, 0.5)})
    told: list[tuple[str, str, dict[str, Any]]] = []
    drive(Canary(), serving, serving.clock, Deadline.after(600, serving.clock), lambda *event: told.append(event))
    ((_, words, bad),) = [event for event in told if event[0] == "rollout.first_bad"]
    assert words == f"v2 gave its first bad answers: 0 failed, {bad['slow']} slow"
    assert bad["slow"] > 0


def test_the_evidence_is_kept_over_time_and_its_size_is_bounded() -> None:
    """One point a guard for each look that said something new; a long rollout keeps every second look, and so on."""
    short = rehearse(Simulated(VirtualClock()))
    guards = {point.guard for point in short.evidence}
    assert guards == {"errors", "slow", "errors against baseline", "slow against baseline"}
    times = [point.t_s for point in short.evidence if point.guard == "errors"]
    assert times == sorted(times)
    assert len(times) > 20
    long = rehearse(Simulated(VirtualClock()), Canary(LOOSE, pause_s=60.0))
    kept = [point for point in long.evidence if point.guard == "errors"]
    assert 150 < len(kept) <= 400
    assert kept[-1].t_s > long.duration_s - 2


def test_a_promotion_that_was_asked_for_is_not_stopped_by_the_deadline() -> None:
    """It is in effect already: rolling it back would be a second change for nothing."""
    serving = Simulated(VirtualClock())
    promote = serving.promote

    def slowly() -> None:
        promote()
        serving.clock.sleep(1000)

    serving.promote = slowly  # type: ignore[method-assign]
    record = rehearse(serving, within_s=200)
    assert record.outcome == Outcome.PROMOTED
    assert serving.calls[-1] == "promote"
