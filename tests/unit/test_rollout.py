"""Canary rollouts on a virtual clock: what promotes, what rolls back, and what never does."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from harness.errors import ConfigError, ServiceFailed
from harness.lifecycle.rollout import Canary, Observation, Outcome, Phase, SetWeight, State, step
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts
from harness.report.record import RevisionCounts
from harness.runtime.clock import VirtualClock
from tests.unit.simulated import GOOD, Behaviour, Simulated, rehearse


def test_a_canary_within_its_slo_is_promoted_step_by_step() -> None:
    """Every weight is taken in order, each with its verdict and its counts, and the record says so."""
    serving = Simulated(VirtualClock())
    record = rehearse(serving)
    assert serving.calls == ["start", "weight 10", "weight 50", "weight 100", "promote"]
    assert record.outcome == Outcome.PROMOTED
    assert [(closed.percent, closed.decision) for closed in record.steps] == [
        (10, "promote"),
        (50, "promote"),
        (100, "promote"),
    ]
    assert record.split["passed"]
    assert [split["percent"] for split in record.split["steps"]] == [10, 50]
    assert [split["needed"] for split in record.split["steps"]] == [3549, 8413]  # to see a weight that is 5 points off
    canary = record.steps[0].counts[1]
    assert (canary.revision, canary.failed) == ("v2", 0)
    json.loads(record.model_dump_json())


def test_evidence_adds_up_over_the_steps_and_the_last_step_stands_alone() -> None:
    """With an SLO of 2 % and a flawless canary: 173 requests open 50 %, 350 in all 100 %, and 350 at 100 % promote."""
    serving = Simulated(VirtualClock(), behaviour={"v1": (0, 0), "v2": (0, 0)})
    record = rehearse(serving, Canary(SLO(errors=0.02), min_step_s=0.0))
    first, second, last = (closed.counts[1].requests for closed in record.steps)
    assert 173 <= first <= 173 + 10
    assert 350 <= first + second <= 350 + 30
    assert 350 <= last <= 350 + 30


@pytest.mark.parametrize(
    ("bad", "words"), [((0.10, 0.0), "errors"), ((0.0, 0.30), "slow")], ids=["it fails", "it is slow"]
)
def test_a_broken_canary_is_rolled_back_at_the_first_weight(bad: Behaviour, words: str) -> None:
    """The reason names the guard, and the baseline has all traffic again."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": bad})
    record = rehearse(serving)
    assert serving.calls == ["start", "weight 10", "roll back"]
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason.startswith(words)
    assert record.steps[0].decision == "roll back"


def test_a_canary_that_breaks_late_is_rolled_back_in_spite_of_its_good_past() -> None:
    """10,000 good requests at 10 % do not delay the roll back at 100 % beyond a few hundred bad ones."""
    serving = Simulated(VirtualClock(), rps=2000, at_percent={100: {"v2": (0.5, 0.0)}})
    record = rehearse(serving, Canary(SLO(errors=0.02), min_step_s=50.0))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.steps[-1].percent == 100
    assert record.steps[-1].counts[1].failed < 300


@pytest.mark.parametrize("bad", [(0.03, 0.0), (0.0, 0.06)], ids=["it fails", "it is slow"])
def test_a_canary_that_breaks_a_bound_a_little_at_full_weight_is_not_promoted_on_its_past(bad: Behaviour) -> None:
    """5,000 good requests below 100 %, then 3 % fail of 2 %, or 6 % are slow of 5 %: it takes time to see it."""
    serving = Simulated(VirtualClock(), rps=1000, at_percent={100: {"v2": bad}})
    record = rehearse(serving, Canary(SLO(errors=0.02, slow=0.05), steps=(50, 60, 70, 80, 90, 100), min_step_s=1.5))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.steps[-1].percent == 100
    assert record.steps[-1].duration_s > 1.5


def test_requests_whose_latency_is_not_known_yet_are_no_evidence_that_they_were_fast() -> None:
    """Latencies that appear every 30 s: all are slow, and in the first 30 s nothing says so; nothing is promoted."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.0, 1.0)}, flush_s=30.0)
    record = rehearse(serving)
    assert serving.calls == ["start", "weight 10", "roll back"]
    assert record.reason.startswith("slow")
    assert record.duration_s > 29


def test_a_canary_that_fails_as_its_baseline_does_at_every_weight_is_promoted() -> None:
    """Both fail more at 100 %, within the SLO: that the baseline has no requests by then is not the canary's fault."""
    both = {percent: {"v1": (p, 0.0), "v2": (p, 0.0)} for percent, p in {10: 0.0, 100: 0.16}.items()}
    serving = Simulated(VirtualClock(), rps=400, at_percent=both)
    record = rehearse(serving, Canary(SLO(errors=0.2), steps=(10, 100), min_step_s=10.0))
    assert record.outcome == Outcome.PROMOTED


def test_the_last_step_is_judged_without_a_baseline_and_the_comparison_of_the_others_stays() -> None:
    """What the state machine passes on: the counts of each step, of both revisions, without those from before."""
    states = list[State]()
    rehearse(Simulated(VirtualClock()), on_state=states.append)
    pairs = states[-1].pairs
    assert len(pairs) == 3
    assert [canary.requests > 0 for canary, _ in pairs] == [True, True, True]
    assert [baseline.requests > 0 for _, baseline in pairs] == [True, True, False]
    assert sum(baseline.requests for _, baseline in pairs) < 5000
    last, before = states[-1].steps[-1].guards[1], states[-1].steps[-2].guards[1]
    assert last.guard == before.guard == "errors against baseline"
    assert last.evidence_bad <= before.evidence_bad
    assert last.observed == pytest.approx(before.observed, abs=1e-3)


def test_a_split_that_the_gateway_gets_wrong_ends_the_rollout() -> None:
    """15 % where 10 % is configured: a gateway that gives the canary more users than agreed ends the rollout."""
    record = rehearse(Simulated(VirtualClock(), rps=1000, splits={10: 15}), Canary(SLO(errors=0.02), min_step_s=5.0))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason.startswith("split: ")
    assert [(split["percent"], split["passed"]) for split in record.split["steps"]] == [(10, False)]
    assert not record.split["passed"]


def test_a_canary_without_traffic_is_not_promoted_and_the_reason_says_what_was_missing() -> None:
    """Starved of requests, the rollout ends with the baseline serving and a number of requests."""
    serving = Simulated(VirtualClock(), rps=1.0)
    record = rehearse(serving, Canary(SLO(errors=0.02), max_step_s=30))
    assert serving.calls[-1] == "roll back"
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "more requests, all good, are needed" in record.reason
    assert 30 <= record.duration_s <= 31


def test_counters_that_stop_moving_never_promote() -> None:
    """Stale metrics after plenty of evidence: the next step has no fresh requests of its own."""
    serving = Simulated(VirtualClock())
    real = serving.counts

    def stale() -> list[RevisionCounts]:
        counts = real()
        if serving.totals["v2"].requests > 800:
            serving.rps = 1e-9
        return counts

    serving.counts = stale  # type: ignore[method-assign]
    record = rehearse(serving, Canary(SLO(errors=0.02), min_step_s=5.0, min_step_requests=500, max_step_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "canary requests in this step" in record.reason
    assert "promote" not in serving.calls


def test_counters_that_cannot_be_read_never_promote() -> None:
    """A metrics source that is down for good is a lack of evidence, and is polled at the interval only."""
    serving = Simulated(VirtualClock())
    looks = 0

    def down() -> None:
        nonlocal looks
        looks += 1
        raise httpx.ConnectError("refused")

    serving.counters = down
    record = rehearse(serving, Canary(max_step_s=20), every_s=0.5)
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert serving.calls == ["start", "weight 10", "roll back"]
    assert looks <= 45


def test_counters_that_restart_from_zero_keep_the_evidence() -> None:
    """A restarted gateway loses its counters, not the rollout's."""
    state = State(Canary(SLO(errors=0.02), min_step_s=0), 0.0)
    state, _ = step(state, Observation(Counts(), Counts(900)), 0.0)
    for now, canary in ((1.0, Counts()), (2.0, Counts(100, 1, 2, 90)), (3.0, Counts(60, 1, 1, 50))):
        state, _ = step(state, Observation(canary, Counts(1000)), now)
    assert state.canary.total == Counts(160, 2, 3, 140)


def test_counters_that_vanish_with_their_revision_keep_the_evidence() -> None:
    """The gateway forgets a revision that no route uses: what it had answered stays counted."""
    state = State(Canary(SLO(errors=0.02), min_step_s=0), 0.0)
    state, _ = step(state, Observation(Counts(), Counts(900, 0, 0, 900)), 0.0)
    for now, baseline in ((1.0, Counts(900, 0, 0, 880)), (2.0, Counts(1000, 1, 3, 960)), (3.0, Counts())):
        state, _ = step(state, Observation(Counts(5), baseline), now)
    assert state.pairs[-1][1] == Counts(100, 1, 3, 80)


def test_a_canary_that_does_not_start_never_gets_traffic() -> None:
    """The rollout ends at 0 % with the reason of the platform."""
    serving = Simulated(VirtualClock(), start_error="model file is corrupt")
    record = rehearse(serving)
    assert serving.calls == ["start", "roll back"]
    assert record.outcome == Outcome.ROLLED_BACK
    assert "model file is corrupt" in record.reason
    assert record.steps == []


def test_a_canary_that_is_not_ready_in_time_is_rolled_back() -> None:
    """Polling readiness instead of waiting for it has the same bound."""
    state = State(Canary(max_step_s=10), 0.0)
    state, actions = step(state, Observation(ready=False), 9.0)
    assert actions == ()
    state, _ = step(state, Observation(ready=False), 10.0)
    assert state.outcome is Outcome.ROLLED_BACK
    assert "not ready within 10 s" in state.reason


def test_the_deadline_of_the_run_ends_a_rollout_without_promotion() -> None:
    """The time that the whole run has left is shorter than the step's."""
    serving = Simulated(VirtualClock(), rps=5.0)
    record = rehearse(serving, within_s=7.0)
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert record.reason.startswith("the time was over at 10 %")
    assert serving.calls[-1] == "roll back"
    assert record.duration_s == pytest.approx(7.0, abs=0.2)


def test_an_interrupted_rollout_gives_the_traffic_back() -> None:
    """Ctrl-C in a step: the baseline serves, and the interruption goes on."""
    serving = Simulated(VirtualClock())

    def interrupt() -> None:
        if serving.clock.now() > 2:
            raise KeyboardInterrupt

    serving.counters = interrupt
    with pytest.raises(KeyboardInterrupt):
        rehearse(serving)
    assert serving.calls[-1] == "roll back"


def test_a_weight_that_cannot_be_set_rolls_back() -> None:
    """A platform that fails in the middle is an end of the rollout, with its reason."""
    serving = Simulated(VirtualClock())
    real = serving.set_weight

    def fails_at_50(percent: int) -> None:
        if percent == 50:
            raise ServiceFailed("the gateway refused the route")
        real(percent)

    serving.set_weight = fails_at_50  # type: ignore[method-assign]
    record = rehearse(serving)
    assert record.outcome == Outcome.ROLLED_BACK
    assert "the gateway refused the route" in record.reason
    assert serving.calls[-1] == "roll back"


def test_a_promotion_that_fails_is_rolled_back_not_reported_as_promoted() -> None:
    """Promoted means that the platform confirmed it."""
    serving = Simulated(VirtualClock())

    def fails() -> None:
        raise ServiceFailed("conflict")

    serving.promote = fails  # type: ignore[method-assign]
    record = rehearse(serving)
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason == "conflict"


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.WATCHING, Phase.PROMOTING])
def test_a_rollout_resumed_from_any_state_ends_as_if_it_had_not_stopped(phase: Phase) -> None:
    """A crash right after the state was stored, before its action was done: the action is done again."""
    whole = rehearse(Simulated(VirtualClock()))
    serving, kept = Simulated(VirtualClock()), list[State]()

    def crash(state: State) -> None:
        kept.append(state)
        if state.phase is phase and (state.index == 1 or phase is Phase.PROMOTING):
            raise SystemExit

    serving.roll_back = lambda: None  # type: ignore[method-assign]  # a killed process rolls nothing back
    with pytest.raises(SystemExit):
        rehearse(serving, on_state=crash)
    resumed = rehearse(serving, resume=kept[-1])
    assert resumed.outcome == whole.outcome == Outcome.PROMOTED
    assert [closed.percent for closed in resumed.steps] == [10, 50, 100]
    assert serving.calls[-1] == "promote"


def test_the_same_seed_gives_the_same_record() -> None:
    """Nothing in a rollout depends on the wall clock."""
    assert rehearse(Simulated(VirtualClock())) == rehearse(Simulated(VirtualClock()))


def test_a_finished_rollout_does_nothing_more() -> None:
    """Observations after the end change nothing."""
    done = State(Canary(), 0.0, phase=Phase.DONE, outcome=Outcome.PROMOTED)
    assert step(done, Observation(failure="late"), 5.0) == (done, ())


def test_a_ready_canary_gets_the_first_weight_and_promotion_waits_for_its_confirmation() -> None:
    """The state machine alone, without a driver."""
    state, actions = step(State(Canary(), 0.0), Observation(), 0.0)
    assert actions == (SetWeight(10),)
    asked = State(Canary(), 0.0, phase=Phase.PROMOTING)
    state, actions = step(asked, Observation(), 1.0)
    assert (state.outcome, actions) == (Outcome.PROMOTED, ())


@pytest.mark.parametrize(
    ("kw", "words"),
    [
        ({"steps": (50, 10, 100)}, "canary.steps: expected whole percentages that grow and end with 100"),
        ({"steps": (10, 10, 100)}, "got 10, 10, 100"),
        ({"steps": (10, 50)}, "end with 100"),
        ({"steps": ()}, "got nothing"),
        ({"steps": (0, 100)}, "got 0, 100"),
        ({"steps": "10,100"}, "got '10,100'"),
        ({"steps": (0.5, 100)}, "whole percentages"),
        ({"max_step_s": -1}, "canary.max_step_s: expected a number of at least 0.1, got -1"),
        ({"min_step_s": "1"}, "canary.min_step_s"),
        ({"min_step_requests": 0}, "canary.min_step_requests: expected a whole number of at least 1"),
        ({"min_step_s": 9, "max_step_s": 3}, "expected at most max_step_s (3), got 9"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_clear_line(kw: dict[str, Any], words: str) -> None:
    """The line names the field and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        Canary(**kw)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_canary_that_is_slow_to_answer_does_not_make_a_right_split_look_wrong() -> None:
    """300 of 600 requests were given to it; most of them it has not answered yet."""
    policy = Canary(slo=SLO(slower_than_ms=100), steps=(50, 100), max_step_s=1.0, min_step_s=0.0)
    state, _ = step(State(policy, 0.0), Observation(), 0.0)
    state, _ = step(state, Observation(Counts(), Counts()), 0.0)
    state, _ = step(state, Observation(Counts(90, routed=300), Counts(290, routed=300)), 2.0)
    (split,) = state.splits
    assert split["passed"]
    assert (split["canary"], split["requests"]) == (300, 600)
