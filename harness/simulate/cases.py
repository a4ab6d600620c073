"""The canaries that are simulated, and which outcomes would be wrong for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.lifecycle.rollout import Outcome, Policy
from harness.simulate.world import Behaviour, World

NOBODY: frozenset[Outcome] = frozenset()
PROMOTED, ROLLED_BACK = frozenset((Outcome.PROMOTED,)), frozenset((Outcome.ROLLED_BACK,))


@dataclass(frozen=True)
class Case:
    """A world, what it is, and the outcomes that a rule must not come to."""

    name: str
    world: World
    wrong: frozenset[Outcome]


def hard_cases(policy: Policy, world: World) -> tuple[Case, ...]:
    """The canaries that are hardest to judge rightly, and one that is plainly bad; traffic as in `world`.

    At the bound both verdicts are wrong: no share below the bound can be shown, and none above it.
    """
    bound, slow = policy.slo.errors, policy.slo.slow / 10
    other, bad = max(0.0, bound * (1 - policy.standard.margin_share)), min(1 - slow, 3 * bound)

    def case(name: str, canary: Behaviour, baseline: float, wrong: frozenset[Outcome]) -> Case:
        return Case(name, replace(world, canary=canary, baseline=Behaviour(baseline, slow)), wrong)

    breaks = Behaviour(0.0, slow, breaks_at=100, then_errors=bound)
    return (
        case(
            f"at the bound ({bound:.2%}), baseline {other:.2%}", Behaviour(bound, slow), other, PROMOTED | ROLLED_BACK
        ),
        case("flawless until 100 %, then at the bound", breaks, other, PROMOTED | ROLLED_BACK),
        case(f"good ({bound / 10:.2%}), like its baseline", Behaviour(bound / 10, slow), bound / 10, ROLLED_BACK),
        case(f"three times the bound ({bad:.2%})", Behaviour(bad, slow), bound / 10, PROMOTED),
    )


def described_case(policy: Policy, world: World) -> Case:
    """The case of a world that a user described: what is wrong follows from its shares."""
    slo, margin = policy.slo, policy.standard.margin_share
    canary, baseline = world.canary, world.baseline
    worst = max(canary.errors_at(0), canary.errors_at(100))
    shares = ((worst, baseline.errors, slo.errors), (canary.slow, baseline.slow, slo.slow))
    broken = PROMOTED if any(p >= bound for p, _, bound in shares) else NOBODY
    kept = all(p <= bound and p <= other + margin * bound for p, other, bound in shares) and not world.warm_up_s
    words = [f"{one.errors:.2%} failed, {one.slow:.2%} slow" for one in (canary, baseline)]
    return Case(f"canary {words[0]}; baseline {words[1]}", world, broken | (ROLLED_BACK if kept else NOBODY))
