"""Rollouts of all kinds, loads and chaos cases as a run writes them; seeded."""

from __future__ import annotations

import random

from harness.report.record import (
    AnswersRecord,
    Approval,
    ChaosCase,
    Effect,
    EventRecord,
    EvidencePoint,
    GuardVerdict,
    RevisionCounts,
    RollbackCost,
    RolloutRecord,
    RolloutStep,
    RunRecord,
    Status,
)
from tests.unit import sample_record
from tests.unit.sample_record import START

BEGAN = START + 8.8
GUARDS = ("errors", "errors against baseline", "slow", "slow against baseline")


def evidence(until_s: float, percents: list[tuple[float, int]], *, broken: str = "") -> list[EvidencePoint]:
    """Both e-values of each guard every 0.1 s: e-values of a kept bound grow and fall, or the `broken` one's turns."""
    chance = random.Random(3)
    found = []
    for guard in GUARDS:
        good, bad = 0.0, 0.0
        for tick in range(int(until_s * 10)):
            t_s = tick / 10
            percent = next(percent for since, percent in reversed(percents) if t_s >= since)
            wrong = guard == broken
            good += (-0.2 if wrong else 0.09) * chance.uniform(0.2, 1.8) * percent**0.25
            bad += (0.19 if wrong else -0.04) * chance.uniform(0.2, 1.8) * percent**0.25
            found.append(EvidencePoint(t_s=t_s, percent=percent, guard=guard, good=10**good, bad=10**bad))
    return found


def promoted() -> RolloutRecord:
    """A canary with a pause, a manual gate and a resumption."""
    rollout = sample_record.rollout_promoted()
    rollout.started_at = BEGAN
    rollout.steps[1].started_at += 1.0
    rollout.steps[2].started_at += 3.0
    rollout.duration_s = 9.3
    rollout.evidence = evidence(9.2, [(0.0, 10), (2.6, 50), (6.6, 100)])
    rollout.resumed = 1
    rollout.approvals = [
        Approval(percent=50, asked_at=BEGAN + 4.7, answered_at=BEGAN + 6.6, answer="approved", by="ada")
    ]
    for step, needed, power in zip(rollout.split["steps"], (3_549, 8_413), (0.8218, 0.0034), strict=True):
        step |= {"needed": needed, "power": power}
    return rollout


def rolled_back() -> RolloutRecord:
    """A canary that erred at 10 %."""
    rollout = sample_record.rollout_failed()
    rollout.started_at = BEGAN
    rollout.evidence = evidence(1.7, [(0.0, 10)], broken="errors")
    rollout.rollback = RollbackCost(
        first_bad_at=BEGAN + 0.42, decided_at=BEGAN + 1.62, effective_at=BEGAN + 1.71, harmed=23, requests=1_988,
        budget_share=1.157,
    )  # fmt: skip
    return rollout


def blue_green() -> RolloutRecord:
    """Green is warmed by copies, takes all traffic, is held, and blue drains."""
    rollout = _base("blue-green", "blue-green, warm 2 s, hold 10 s", "promoted")
    rollout.steps = [_step(0, 0.3, 2.1, 380, 400), _step(100, 2.5, 6.2, 1_240, 0)]
    rollout.evidence = evidence(8.7, [(0.0, 0), (2.5, 100)])
    return rollout


def ab_test() -> RolloutRecord:
    """A fixed split by user that ends with effects."""
    rollout = _base("ab", "A/B 50 % by x-user-id", "cleared")
    rollout.steps = [_step(50, 0.4, 9.0, 1_790, 1_822)]
    rollout.evidence = evidence(9.0, [(0.0, 50)])
    rollout.split = {
        "passed": True,
        "steps": [{"percent": 50, "configured": 0.5, "observed": 1_790 / 3_612, "requests": 3_612, "canary": 1_790,
                   "p_value": 0.9, "passed": True, "needed": 8_413, "power": 0.5016}],
    }  # fmt: skip
    rollout.effects = [
        Effect(metric=metric, baseline=a, canary=b, difference=b - a, low=low, high=high, confidence=0.999)
        for metric, a, b, low, high in (
            ("errors", 0.004, 0.005, -0.011, 0.013),
            ("slow", 0.021, 0.064, 0.019, 0.066),
            ("positive", 0.31, 0.25, -0.11, -0.012),
        )
    ]
    return rollout


def shadow() -> RolloutRecord:
    """Copies of all requests, whose answers differ now and then."""
    rollout = _base("shadow", "shadow 100 %, agreement 99 %", "cleared")
    rollout.steps = [_step(0, 0.4, 9.0, 3_391, 3_598)]
    rollout.evidence = evidence(9.0, [(0.0, 1)])
    rollout.answers = AnswersRecord(
        baseline=3_398, canary=3_391, compared=3_391, agreed=3_377,
        cuts=[0.05, 0.08, 0.11, 0.15, 0.2, 0.26, 0.34, 0.45, 0.61],
        baseline_below=[340, 682, 1_015, 1_362, 1_700, 2_036, 2_381, 2_720, 3_060],
        canary_below=[301, 612, 930, 1_260, 1_601, 1_944, 2_310, 2_689, 3_049], shift=0.033,
    )  # fmt: skip
    return rollout


def _base(kind: str, policy: str, outcome: str) -> RolloutRecord:
    return RolloutRecord.model_validate(
        {
            "service": "production/high-utiliser", "kind": kind, "policy": policy, "baseline": "v1", "canary": "v2",
            "outcome": outcome, "reason": "3 598 requests, 0 failed, 17 slow: within the SLO", "steps": [],
            "started_at": BEGAN, "duration_s": 9.4,
        }
    )  # fmt: skip


def _step(percent: int, at: float, lasted: float, canary: int, baseline: int) -> RolloutStep:
    return RolloutStep(
        percent=percent,
        started_at=BEGAN + at,
        duration_s=lasted,
        decision="promote",
        reason=f"{canary} requests, 0 failed: within the SLO",
        guards=sample_record.guards(max(canary, 100), 0, canary // 190, "promote"),
        counts=[
            RevisionCounts(revision="v1", requests=baseline, failed=0, slow=baseline // 200),
            RevisionCounts(revision="v2", requests=canary, failed=0, slow=canary // 190),
        ],
    )


def all_kinds() -> RunRecord:
    """One run with a rollout of every kind and a load whose generator was late."""
    record = sample_record.passed()
    record.rollouts = [promoted(), ab_test(), blue_green(), shadow()]
    load = record.loads[0]
    load.arrivals, load.processes, load.users, load.retried, load.mirrored = "poisson", 2, 5_000, 3, 1_402
    load.schedule_delay_p50_ms, load.schedule_delay_p99_ms, load.generator_cpu = 0.21, 6.4, 0.97
    load.distrust = "the generator sent 1 % of the requests more than 6.4 ms late, over a tenth of the p99 of 17.3 ms"
    load.latency_verdict = GuardVerdict(
        guard="slow", bound=0.05, observed=0.005, requests=3_598, bad=17, evidence_good=4.1e8, evidence_bad=1e-4,
        decision="promote",
    )  # fmt: skip
    return record


def rolled_back_run(events: list[EventRecord] | None = None) -> RunRecord:
    """A failed run whose canary was rolled back, with the events around its first symptom."""
    record = sample_record.rolled_back()
    record.hint = ""
    record.rollouts = [rolled_back()]
    record.events = events or []
    return record


def chaos() -> RunRecord:
    """A chaos run with one broken invariant."""
    record = sample_record.passed()
    record.title, record.status, record.decided_by = "Chaos: every fault in every phase", Status.FAILED, ""
    for name in ("pipelines", "models", "gates", "smoke", "rollouts", "loads", "drift", "series"):
        setattr(record, name, [])
    record.steps = record.steps[:1]
    names = ("traffic always served", "one promotion", "weights sum to 100", "baseline keeps its capacity")
    record.chaos = [
        ChaosCase(
            policy=policy, phase=phase, fault=fault, invariants=dict.fromkeys(names, ""), duration_s=4.2,
            outcome="rolled back" if "errors" in fault else "promoted",
            rollback_s=0.31 if "errors" in fault else None, budget_share=0.42 if "errors" in fault else None,
        )
        for policy in ("canary", "ab", "blue-green", "shadow")
        for phase in ("starting", "shifting", "watching", "promoting")
        for fault in ("replica-killed", "replica-errors", "gateway-restarted", "metrics-stale")
    ]  # fmt: skip
    record.chaos[21].invariants["baseline keeps its capacity"] = "v1-1 drained before the canary was promoted"
    record.chaos[21].detail = "v1 was retired 0.2 s early"
    return record
