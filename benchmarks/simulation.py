"""The simulation: a canary of 25 minutes on the virtual clock, and trials of the hardest canaries on all cores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.simulate import World, hard_cases, run_once, simulate_trials
from harness.simulate.trials import RULES

SLO_2 = SLO(errors=0.02, slow=0.05)
TRIALS = 10_000


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """One run five times, then 10,000 trials of three canaries: at the bound, breaking late, and good."""
    long = Canary(SLO_2, steps=(5, 10, 25, 50, 100), min_step_s=300, max_step_s=300)
    run_once(long, World(), 0)
    yield "a simulated canary of 25 minutes", "s", "< 1", [_once(long, seed) for seed in range(5)]
    policy = Canary(SLO_2, min_step_s=60, max_step_s=300)
    began = time.monotonic()
    found = simulate_trials(policy, hard_cases(policy, World())[:3], TRIALS, 1)
    took = time.monotonic() - began
    yield f"{TRIALS} trials of three canaries, beside two naive rules", "s", "<= 30", [took]
    yield "trials a second, of all rules", "1/s", "-", [TRIALS * len(found) / took]
    for rule in RULES:
        for outcome in (Outcome.PROMOTED, Outcome.ROLLED_BACK):
            rates = [one.wrong_rates[outcome].share for one in found if one.rule == rule and outcome in one.wrong]
            target = "<= 1e-3" if rule == RULES[0] else "-"
            yield f"{rule}: wrongly {outcome}, in each canary", "", target, rates


def _once(policy: Canary, seed: int) -> float:
    began = time.monotonic()
    run_once(policy, World(), seed)
    return time.monotonic() - began
