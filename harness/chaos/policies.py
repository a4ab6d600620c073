"""One quick policy of each kind, for cases of seconds: budgets wide enough for a busy machine, few requests needed."""

from __future__ import annotations

from dataclasses import replace

from harness.lifecycle.rollout import ABTest, BlueGreen, ByUser, Canary, Outcome, Phase, Policy, Shadow
from harness.lifecycle.slo import SLO

QUICK = SLO(errors=0.08, slower_than_ms=500, slow=0.25)
USERS = 200

_POLICIES: dict[str, Policy] = {
    "canary": Canary(QUICK, steps=(50, 100), max_step_s=8.0, min_step_s=0.5),
    "ab": ABTest(QUICK, by=ByUser(), metric="errors", min_effect=0.15, max_s=14.0, min_s=1.0),
    "blue-green": BlueGreen(QUICK, warm_s=0.5, warm_requests=20, hold_s=0.5, max_hold_s=8.0, drain_s=0.5),
    "shadow": Shadow(QUICK, min_agreement=0.9, max_s=10.0),
}


def policy_for(kind: str, phase: Phase) -> Policy:
    """A quick policy of this kind, whose rollout passes this phase."""
    policy = _POLICIES[kind]
    if isinstance(policy, Canary) and phase is Phase.PAUSED:
        return replace(policy, pause_s=1.0)
    if isinstance(policy, Canary) and phase is Phase.GATED:
        return replace(policy, manual=(50,), approval_s=8.0)
    if isinstance(policy, ABTest | Shadow) and phase is Phase.PROMOTING:
        return replace(policy, promote=True)
    return policy


def without_fault(kind: str, phase: Phase) -> Outcome:
    """How a rollout of `policy_for` ends that meets no fault but the one that leads to the phase."""
    if phase is Phase.ROLLING_BACK:
        return Outcome.ROLLED_BACK
    clears = kind in ("ab", "shadow") and phase is not Phase.PROMOTING
    return Outcome.CLEARED if clears else Outcome.PROMOTED
