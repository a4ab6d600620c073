"""Many trials of a policy and of the naive rules: in batches, on all cores; the same seed gives the same numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from signal import SIG_IGN, SIGINT, signal
from typing import Any

import numpy as np

from harness.lifecycle.rollout import Canary, Outcome, Policy
from harness.report._interval import exact_interval
from harness.simulate.cases import Case
from harness.simulate.lockstep import can_lockstep, run_lockstep
from harness.simulate.naive import FIXED_REQUESTS, run_fixed, run_minute
from harness.simulate.port import run_once
from harness.simulate.results import OUTCOMES, Results
from harness.simulate.world import World

BATCH, DRIVEN_BATCH = 2500, 50  # trials side by side; and one after another through the driver
CONFIDENCE = 0.95
RULES = ("rehearsal", f"{FIXED_REQUESTS} requests", "1-minute rate")
Progress = Callable[[int, int], None]  # batches done, and all of them


@dataclass(frozen=True)
class Rate:
    """How often something happened, with the exact interval (Clopper and Pearson 1934) at CONFIDENCE."""

    count: int
    trials: int

    @property
    def share(self) -> float:
        """The observed share."""
        return self.count / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds on the true probability."""
        return exact_interval(self.count, self.trials, CONFIDENCE)


@dataclass(frozen=True)
class Summary:
    """What one rule came to in the trials of one case; medians over the trials."""

    case: str
    rule: str
    outcomes: dict[Outcome, Rate]
    wrong: tuple[Outcome, ...]
    seconds: float
    canary_requests: float
    requests: float
    harmed: float | None  # requests of the canary that were bad until it was rolled back; None if none was

    @property
    def wrong_rates(self) -> dict[Outcome, Rate]:
        """The rates of the outcomes that would be wrong."""
        return {outcome: self.outcomes[outcome] for outcome in self.wrong}

    def as_json(self) -> dict[str, Any]:
        """The summary for scripts: counts, and exact intervals of what would be wrong."""
        wrong = {
            outcome: {"count": rate.count, "share": rate.share, "interval": rate.interval}
            for outcome, rate in self.wrong_rates.items()
        }
        return {
            "case": self.case,
            "rule": self.rule,
            "outcomes": {outcome: rate.count for outcome, rate in self.outcomes.items()},
            "wrong": wrong,
            "seconds": self.seconds,
            "canary_requests": self.canary_requests,
            "requests": self.requests,
            "harmed": self.harmed,
        }


@dataclass(frozen=True)
class _Batch:
    case: int
    rule: str
    trials: int
    seed: np.random.SeedSequence


def simulate_trials(
    policy: Policy,
    cases: Sequence[Case],
    trials: int,
    seed: int,
    *,
    every_s: float = 1.0,
    rules: Sequence[str] = RULES,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Summary]:
    """Run `trials` of each case under each rule; the naive rules are about canaries only."""
    rules = rules if isinstance(policy, Canary) else RULES[:1]
    batches = _batches(policy, cases, rules, trials, seed)
    parts = _run_all(policy, cases, batches, every_s, processes or os.cpu_count() or 1, progress)
    summaries = []
    for number, case in enumerate(cases):
        for rule in rules:
            ours = [
                part for batch, part in zip(batches, parts, strict=True) if (batch.case, batch.rule) == (number, rule)
            ]
            summaries.append(_summary(case, rule, Results.joined(ours)))
    return summaries


def _batches(policy: Policy, cases: Sequence[Case], rules: Sequence[str], trials: int, seed: int) -> list[_Batch]:
    """The work in portions whose size and seeds do not depend on the machine."""
    found = []
    for case in range(len(cases)):
        for rule in rules:
            size = BATCH if rule != RULES[0] or can_lockstep(policy) else DRIVEN_BATCH
            for number, start in enumerate(range(0, trials, size)):
                key = np.random.SeedSequence((seed, case, RULES.index(rule), number))
                found.append(_Batch(case, rule, min(size, trials - start), key))
    return found


def _run_all(
    policy: Policy, cases: Sequence[Case], batches: Sequence[_Batch], every_s: float, processes: int, progress: Progress
) -> list[Results]:
    progress(0, len(batches))
    jobs = [(policy, cases[batch.case].world, batch, every_s) for batch in batches]
    if processes == 1 or sum(batch.trials for batch in batches) < BATCH:
        parts = []
        for job in jobs:
            parts.append(_run_batch(*job))
            progress(len(parts), len(batches))
        return parts
    with ProcessPoolExecutor(processes, get_context("spawn"), signal, (SIGINT, SIG_IGN)) as pool:
        futures = [pool.submit(_run_batch, *job) for job in jobs]
        try:
            for done, _ in enumerate(as_completed(futures), 1):
                progress(done, len(batches))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _run_batch(policy: Policy, world: World, batch: _Batch, every_s: float) -> Results:
    rng = np.random.default_rng(batch.seed)
    if isinstance(policy, Canary) and batch.rule == RULES[1]:
        return run_fixed(policy, world, batch.trials, rng, every_s)
    if isinstance(policy, Canary) and batch.rule == RULES[2]:
        return run_minute(policy, world, batch.trials, rng, every_s)
    if isinstance(policy, Canary) and can_lockstep(policy):
        return run_lockstep(policy, world, batch.trials, rng, every_s)
    runs = [run_once(policy, world, int(seed), every_s=every_s) for seed in rng.integers(2**62, size=batch.trials)]
    return Results(
        np.array([OUTCOMES.index(Outcome(run.record.outcome)) for run in runs]),
        np.array([run.record.duration_s for run in runs]),
        np.array([run.canary for run in runs]),
        np.array([run.harmed for run in runs]),
        np.array([run.requests for run in runs]),
    )


def _summary(case: Case, rule: str, results: Results) -> Summary:
    trials = len(results.outcome)
    counts = np.bincount(results.outcome, minlength=len(OUTCOMES))
    back = results.outcome == OUTCOMES.index(Outcome.ROLLED_BACK)
    return Summary(
        case.name,
        rule,
        {outcome: Rate(int(count), trials) for outcome, count in zip(OUTCOMES, counts, strict=True)},
        tuple(outcome for outcome in OUTCOMES if outcome in case.wrong),
        float(np.median(results.seconds)),
        float(np.median(results.canary)),
        float(np.median(results.requests)),
        float(np.median(results.harmed[back])) if back.any() else None,
    )
