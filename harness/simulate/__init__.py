"""Rollouts on a virtual clock against simulated services: one run, or many trials beside rules that the field uses."""

from __future__ import annotations

from harness.simulate.cases import Case, described_case, hard_cases
from harness.simulate.port import Run, run_once
from harness.simulate.trials import Summary, simulate_trials
from harness.simulate.world import Behaviour, World

__all__ = [
    "Behaviour",
    "Case",
    "Run",
    "Summary",
    "World",
    "described_case",
    "hard_cases",
    "run_once",
    "simulate_trials",
]
