"""The record of a rollout that is over, from its last state."""

from __future__ import annotations

from harness.lifecycle.answers import Answers
from harness.lifecycle.rollout import Outcome, State
from harness.lifecycle.split import split_requests_needed
from harness.lifecycle.verdict import ZERO
from harness.report.record import AnswersRecord, RollbackCost, RolloutRecord


def record_of(state: State, service: str, now: float, unix_now: float) -> RolloutRecord:
    """The record; a rollout was timed on its clock, whose origin has no meaning, and the record has Unix seconds."""
    offset = unix_now - now
    splits = [{**split, "needed": split_requests_needed(split["configured"])} for split in state.splits]
    return RolloutRecord(
        service=service,
        kind=state.policy.kind,
        policy=state.policy.words,
        baseline=state.names[0],
        canary=state.names[1],
        outcome=state.outcome or Outcome.NOT_ENOUGH_EVIDENCE,
        reason=state.reason,
        steps=[closed.model_copy(update={"started_at": closed.started_at + offset}) for closed in state.steps],
        started_at=state.started_at + offset,
        duration_s=now - state.started_at,
        split={"passed": all(split["passed"] for split in splits), "steps": splits} if _splits(state) else {},
        evidence=list(state.evidence),
        rollback=_cost(state, offset) if state.outcome is Outcome.ROLLED_BACK else None,
        effects=list(state.effects),
        answers=_answers(state.answers) if state.answers else None,
        approvals=[
            asked.model_copy(
                update={
                    "asked_at": asked.asked_at + offset,
                    "answered_at": None if asked.answered_at is None else asked.answered_at + offset,
                }
            )
            for asked in state.approvals
        ],
        resumed=state.resumed,
    )


def _splits(state: State) -> bool:
    return any(stage.splits for stage in state.policy.stages)


def _cost(state: State, offset: float) -> RollbackCost:
    """What users lost to the canary: a copy that failed harmed nobody."""
    # A step's counts go on until the next one opens, so those of the last step hold what came until the roll back.
    met = [pair for pair, stage in zip(state.pairs, state.policy.stages, strict=False) if stage.percent]
    canary = sum((pair[0] for pair in met), ZERO)
    baseline = sum((pair[1] for pair in met), ZERO)
    harmed, requests = canary.failed + canary.slow, canary.requests + baseline.requests
    allowed = requests * (state.policy.slo.errors + state.policy.slo.slow)
    return RollbackCost(
        first_bad_at=None if state.first_bad_at is None else state.first_bad_at + offset,
        decided_at=state.decided_at + offset,
        effective_at=state.phase_at + offset,
        harmed=harmed,
        requests=requests,
        budget_share=harmed / allowed if allowed else 0.0,
    )


def _answers(found: Answers) -> AnswersRecord:
    return AnswersRecord(
        baseline=found.baseline,
        canary=found.canary,
        compared=found.compared,
        agreed=found.agreed,
        cuts=list(found.cuts),
        baseline_below=list(found.baseline_below),
        canary_below=list(found.canary_below),
        shift=found.shift,
    )
