"""Whether a policy can come to a verdict with the traffic that it will have."""

from __future__ import annotations

from harness.lifecycle.budget import budget_problem
from harness.lifecycle.rollout.policy import ABTest, BlueGreen, Canary, Policy


def untestable(policy: Policy, rps: float) -> str:
    """One line on what `rps` requests a second cannot show within the policy's time; "" if even a promotion can be."""
    if isinstance(policy, ABTest):
        return ""  # it ends with an interval, however wide
    others = dict[str, float]()
    if isinstance(policy, Canary):
        steps, limit_s = policy.steps, policy.max_step_s
    elif isinstance(policy, BlueGreen):
        steps, limit_s = (100,), policy.max_hold_s
    else:
        steps, limit_s = (policy.percent,), policy.max_s
        if policy.min_agreement is not None:
            others["other answers"] = 1 - policy.min_agreement
    split = isinstance(policy, Canary) and policy.prove_split
    return budget_problem(steps, policy.slo, limit_s, rps, standard=policy.standard, prove_split=split, others=others)
