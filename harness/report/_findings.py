"""What went wrong in a run, in sentences, each with the section that has the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from harness.report import _format as fmt
from harness.report._rollout_view import ended_well, kind
from harness.report._view import expectation, surprising, verdict
from harness.report.cause import likely
from harness.report.record import ChaosCase, RolloutRecord, RunRecord, Status

MOST_CASES = 12  # the table of the section has all


@dataclass(frozen=True)
class Finding:
    """One piece of evidence for a run that did not pass, and the section that has the numbers."""

    text: str
    anchor: str


def opening(record: RunRecord) -> str:
    """The sentence that the page opens with: the most likely cause of a failure, else what decided the outcome."""
    found = likely(record)
    return f"Most likely: {found}." if found else decided(record)


def decided(record: RunRecord) -> str:
    """One sentence: what decided the outcome, or the first thing that went wrong."""
    if record.decided_by:
        return record.decided_by
    if record.status is Status.PASSED:
        return "Every step passed."
    return next((finding.text for finding in findings(record)), f"The run ended as {record.status.value}.")


def evidence(record: RunRecord) -> list[Finding]:
    """The findings for the page: a sentence that the top already says is not said twice."""
    if record.status is Status.PASSED:
        return []
    top = decided(record)
    return [finding for finding in findings(record) if not finding.text.endswith(top)]


def findings(record: RunRecord) -> Iterator[Finding]:
    """What went wrong, most decisive first: verdicts, then lost requests and wrong answers, then broken steps."""
    for rollout in record.rollouts:
        if not ended_well(rollout):
            yield from _of_rollout(rollout)
    yield from _of_chaos(record.chaos)
    for gate in record.gates:
        for line in gate.lines:
            if line.passed is False:
                yield Finding(f"Gate, {line.name}: observed {line.observed}, required {line.required}.", "gate")
    for load in record.loads:
        if load.unexplained:
            yield Finding(f"Load {load.name}: {fmt.count(load.unexplained)} requests are unexplained.", "load")
        if load.distrust:
            yield Finding(f"Load {load.name}: its latencies are not to be trusted: {load.distrust}.", "load")
    yield from _of_answers(record)
    for step in () if any(_broken(record.chaos)) else record.steps:  # a case's step says what its invariant said
        if step.status in (Status.FAILED, Status.INTERRUPTED, Status.RUNNING):
            yield Finding(f"{step.title}: {step.error or step.status.value}", "timeline")


def _of_rollout(rollout: RolloutRecord) -> Iterator[Finding]:
    broken = [
        Finding(
            f"{_where(step.percent)}, {guard.guard}: {fmt.count(guard.bad)} of {fmt.count(guard.requests)} requests "
            f"bad ({fmt.percent(guard.observed)} observed, {fmt.bound(guard.bound)} allowed); evidence "
            f"{fmt.number(guard.evidence_bad)}, a roll back needs {fmt.number(guard.roll_back_at)}.",
            "rollout",
        )
        for step in rollout.steps
        for guard in step.guards
        if guard.decision == "roll back"
    ]
    yield from broken or [
        Finding(f"{kind(rollout)} of {rollout.canary}: {rollout.outcome}. {rollout.reason}", "rollout")
    ]
    if cost := rollout.rollback:
        yield Finding(
            f"The rollback took {fmt.seconds(cost.reaction_s)} and cost {fmt.count(cost.harmed)} requests, "
            f"{fmt.percent(cost.budget_share)} of the error budget.",
            "rollout",
        )


def _where(percent: int) -> str:
    return f"At {percent} %" if percent else "On copies"


def _of_chaos(cases: list[ChaosCase]) -> Iterator[Finding]:
    yield from islice(_broken(cases), MOST_CASES)


def _broken(cases: list[ChaosCase]) -> Iterator[Finding]:
    return (
        Finding(f"Chaos, {case.policy}, {case.phase}, {case.fault}: {invariant}: {what}", "chaos")
        for case in cases
        for invariant, what in case.invariants.items()
        if what
    )


def _of_answers(record: RunRecord) -> Iterator[Finding]:
    for smoke in record.smoke:
        if smoke.mismatches:
            text = f"{smoke.mismatches} of {smoke.rows} served answers differ from the offline model's."
            yield Finding(f"{smoke.service}: {text}", "staging")
    for window in record.drift:
        if surprising(window):
            yield Finding(
                f"Drift, {window.window}: {verdict(window)} although {expectation(window)} was expected.", "drift"
            )
