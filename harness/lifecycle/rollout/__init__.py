"""A rollout as a pure state machine: `step(state, observation, now) -> (state, actions)`.

Actions are data; harness.lifecycle.driver carries them out on a service and a clock. A policy says what is tried and
what must be shown; each has its transitions in a module of its own.
"""

from __future__ import annotations

from harness.lifecycle.rollout.actions import Action, Assign, By, ByHeader, ByUser, Mirror, Promote, RollBack, SetWeight
from harness.lifecycle.rollout.budget import untestable
from harness.lifecycle.rollout.machine import expired, pending, step
from harness.lifecycle.rollout.policy import ABTest, BlueGreen, Canary, Policy, Shadow
from harness.lifecycle.rollout.state import OPEN, Approval, Observation, Outcome, Phase, State
from harness.lifecycle.rollout.table import load_policy, parse_policy

__all__ = [
    "OPEN",
    "ABTest",
    "Action",
    "Approval",
    "Assign",
    "BlueGreen",
    "By",
    "ByHeader",
    "ByUser",
    "Canary",
    "Mirror",
    "Observation",
    "Outcome",
    "Phase",
    "Policy",
    "Promote",
    "RollBack",
    "SetWeight",
    "Shadow",
    "State",
    "expired",
    "load_policy",
    "parse_policy",
    "pending",
    "step",
    "untestable",
]
