"""What a reading can show: the requests of its step, whenever they are answered, and nothing of the time after it."""

from __future__ import annotations

from dataclasses import replace

from harness.lifecycle.rollout import BlueGreen, Canary, Observation, Phase, State, step
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Counts


def test_what_a_baseline_answers_of_before_the_step_does_not_make_a_right_split_look_wrong() -> None:
    """It owed 300 answers when the step opened; in the step both were given 300 requests."""
    policy = Canary(slo=SLO(slower_than_ms=100), steps=(50, 100), max_step_s=1.0, min_step_s=0.0)
    state, _ = step(State(policy, 0.0), Observation(), 0.0)
    state, _ = step(state, Observation(Counts(), Counts(100, routed=400)), 0.0)
    state, _ = step(state, Observation(Counts(300, routed=300), Counts(700, routed=700)), 2.0)
    (split,) = state.splits
    assert split["passed"]
    assert (split["canary"], split["requests"]) == (300, 600)


def test_a_reading_that_comes_again_does_not_show_that_blue_is_idle() -> None:
    """Blue may answer requests that the reading cannot know of; a new reading without any shows that it does not."""
    policy = BlueGreen(SLO(slower_than_ms=100), warm_s=0, warm_requests=0, hold_s=0, drain_s=1.0)
    green, blue = Counts(1000, timed=1000), Counts(100, timed=100)
    state, _ = step(State(policy, 0.0), Observation(), 0.0)
    state, _ = step(state, Observation(Counts(), blue, at=0.0), 0.0)
    draining, _ = step(state, Observation(green, blue, at=1.0), 1.0)
    assert draining.phase is Phase.DRAINING
    again, _ = step(draining, Observation(green, blue, at=1.0), 3.0)
    assert again.phase is Phase.DRAINING
    fresh, _ = step(draining, Observation(replace(green, requests=1010, timed=1010), blue, at=3.0), 3.0)
    assert fresh.phase is Phase.PROMOTING
