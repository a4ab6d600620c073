"""The matrix: every fault in every phase of every policy, less what cannot be; and a seeded sample of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.chaos.faults import EVERY_FAULT, FAULTS, Fault, Hits, fault_named, phase_name, unknown
from harness.errors import UsageError
from harness.lifecycle.rollout import Phase

PHASES: dict[str, tuple[Phase, ...]] = {
    "canary": (
        Phase.STARTING,
        Phase.SHIFTING,
        Phase.WATCHING,
        Phase.PAUSED,
        Phase.GATED,
        Phase.PROMOTING,
        Phase.ROLLING_BACK,
    ),
    "ab": (Phase.STARTING, Phase.SHIFTING, Phase.WATCHING, Phase.PROMOTING, Phase.ROLLING_BACK),
    "blue-green": (
        Phase.STARTING,
        Phase.SHIFTING,
        Phase.WATCHING,
        Phase.DRAINING,
        Phase.PROMOTING,
        Phase.ROLLING_BACK,
    ),
    "shadow": (Phase.STARTING, Phase.SHIFTING, Phase.WATCHING, Phase.ROLLING_BACK),
}
"""The phases that a rollout of each kind passes; a canary goes back only if it is bad, and then it is made so."""

REVISIONS = ("canary", "baseline")
MOMENTS = ("asked", "done")  # before the phase's action is carried out, or after that and before its answer
ACTING = (Phase.STARTING, Phase.SHIFTING, Phase.PROMOTING, Phase.ROLLING_BACK)


@dataclass(frozen=True)
class Case:
    """One fault in one phase of one policy's rollout; `aim` is the revision that it hits, or the moment of a kill."""

    policy: str
    phase: Phase
    fault: str
    aim: str = ""

    @property
    def name(self) -> str:
        """As reports and test ids write it: "canary/watching/replica-killed/baseline"."""
        return "/".join(filter(None, (self.policy, phase_name(self.phase), self.fault, self.aim)))


def matrix(
    policies: Sequence[str] = (), phases: Sequence[Phase] = (), faults: Sequence[str] = ()
) -> list[tuple[Case, str]]:
    """Each combination with the reason why it cannot be, "" if it can; an empty choice is all.

    A fault may name its aim too, as in "replica-killed/baseline". UsageError for a name that is not there.
    """
    chosen = [_fault_and_aim(fault) for fault in faults or FAULTS]
    return [
        (case, impossible(case))
        for policy in map(policy_named, policies or PHASES)
        for phase in PHASES[policy]
        if phase in (phases or Phase)
        for fault, aim in chosen
        for case in _aims(policy, phase, fault)
        if aim in ("", case.aim)
    ]


def possible(policies: Sequence[str] = (), phases: Sequence[Phase] = (), faults: Sequence[str] = ()) -> list[Case]:
    """The combinations that can be."""
    return [case for case, reason in matrix(policies, phases, faults) if not reason]


def sample(cases: Sequence[Case], size: int, seed: int) -> list[Case]:
    """At most `size` of the cases, the same for one seed: each fault once before any comes twice, in shuffled order."""
    shuffled = random.Random(seed).sample(list(cases), len(cases))
    rounds: dict[str, int] = {}
    ranked = []
    for place, case in enumerate(shuffled):
        rounds[case.fault] = rounds.get(case.fault, -1) + 1
        ranked.append((rounds[case.fault], place, case))
    return [case for _, _, case in sorted(ranked, key=lambda entry: entry[:2])[:size]]


def policy_named(name: str) -> str:
    """The kind of policy of this name; UsageError with the nearest if there is none."""
    if name not in PHASES:
        raise UsageError(unknown("policy", name, PHASES))
    return name


def impossible(case: Case) -> str:
    """Why a fault cannot happen in this phase, or cannot be told from another case; "" if it can."""
    if case.fault == "model-corrupt" and case.aim == "baseline":
        return "the baseline has loaded its model before the rollout began"
    if case.aim == "canary" and case.phase is Phase.ROLLING_BACK:
        return "the canary is broken already, which is why it is rolled back"
    asks_nobody = case.aim == "canary" and case.phase is Phase.STARTING
    if asks_nobody and case.fault in ("replica-errors", "replica-slow"):
        return "it gets no request before it is ready; the case of the next phase is the same"
    return ""


def aims_of(fault: Fault) -> tuple[str, ...]:
    """What a fault may be aimed at, the usual first."""
    return {Hits.REPLICA: REVISIONS, Hits.CONTROLLER: MOMENTS}.get(fault.hits, ("",))


def _fault_and_aim(choice: str) -> tuple[str, str]:
    name, _, aim = choice.partition("/")
    fault = fault_named(name)
    if aim and aim not in aims_of(fault):
        raise UsageError(unknown(f"aim of {name}", aim, filter(None, aims_of(fault))))
    return name, aim


def _aims(policy: str, phase: Phase, fault: str) -> Iterator[Case]:
    aims = aims_of(EVERY_FAULT[fault])
    if aims is MOMENTS and phase not in ACTING:
        aims = MOMENTS[:1]
    return (Case(policy, phase, fault, aim) for aim in aims)
