"""The split is judged by what each revision was given in the step, whenever it answers."""

from __future__ import annotations

from harness.lifecycle.rollout import Canary, Observation, State, step
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
