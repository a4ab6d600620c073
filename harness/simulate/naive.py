"""Two rules that the field uses, on the same traffic: a fixed number of requests with a tolerance, a 1-minute rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.lifecycle.rollout import Canary, Outcome
from harness.simulate.results import Results
from harness.simulate.traffic import CANARY, FAILED, SLOW, Traffic
from harness.simulate.world import World

FIXED_REQUESTS = 200
MINUTE_S = 60.0
Bools = npt.NDArray[np.bool_]
# From how long the step has lasted and the canary's counts in it to where a verdict is due, and whether it is bad.
Judge = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64]], tuple[Bools, Bools]]


def run_fixed(policy: Canary, world: World, trials: int, rng: np.random.Generator, every_s: float) -> Results:
    """At each weight wait for 200 canary requests; go on if no share exceeds its bound by more than the margin."""
    tolerated = 1 + policy.standard.margin_share

    def judge(lasted: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> tuple[Bools, Bools]:
        requests = counts.sum(-1)
        return requests >= FIXED_REQUESTS, _exceeds(policy, counts, requests, tolerated)

    return _run(policy, world, trials, rng, every_s, judge)


def run_minute(policy: Canary, world: World, trials: int, rng: np.random.Generator, every_s: float) -> Results:
    """Each weight lasts a minute; go on if no share of that minute's requests exceeds its bound."""

    def judge(lasted: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> tuple[Bools, Bools]:
        return lasted >= MINUTE_S, _exceeds(policy, counts, counts.sum(-1), 1.0)

    return _run(policy, world, trials, rng, every_s, judge)


def _exceeds(policy: Canary, counts: npt.NDArray[np.int64], requests: npt.NDArray[np.int64], tolerated: float) -> Bools:
    failed, slow = counts[:, FAILED], counts[:, SLOW]
    return (failed > tolerated * policy.slo.errors * requests) | (slow > tolerated * policy.slo.slow * requests)


def _run(
    policy: Canary,
    world: World,
    trials: int,
    rng: np.random.Generator,
    every_s: float,
    judge: Judge,
) -> Results:
    traffic, results, weights = Traffic(world, trials, rng), Results.empty(trials), np.array(policy.steps)
    trial, index, began = np.arange(trials), np.zeros(trials, np.int64), np.zeros(trials)
    opened, now = np.zeros((trials, 3), np.int64), 0.0
    while len(trial):
        canary = traffic.totals[:, CANARY]
        due, bad = judge(now - began, canary - opened)
        back, on = due & bad, due & ~bad
        promoted = on & (index + 1 == len(weights))
        starved = ~due & (now - began >= policy.max_step_s)
        for ended, outcome in (
            (back, Outcome.ROLLED_BACK),
            (promoted, Outcome.PROMOTED),
            (starved, Outcome.NOT_ENOUGH_EVIDENCE),
        ):
            results.close(trial[ended], outcome, now, traffic.totals[ended])
        index, began = np.where(on & ~promoted, index + 1, index), np.where(on, now, began)
        opened = np.where(on[:, None], canary, opened)
        going = ~(back | promoted | starved)
        traffic.keep(going)
        trial, index, began, opened = trial[going], index[going], began[going], opened[going]
        traffic.advance(now, every_s, weights[index])
        traffic.turn(every_s)
        now += every_s
    return results
