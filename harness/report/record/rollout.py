"""Of a run record: how a new revision was released, what it cost, and who was asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from harness.report.record._base import Record
from harness.report.record.verdict import GuardVerdict


class RevisionCounts(Record):
    """Requests that one revision answered in a window, as the gateway counted them."""

    revision: str
    requests: int
    failed: int = Field(description="4xx, 5xx, connection failures and timeouts")
    slow: int
    timed: int = Field(default=0, description="requests whose latency is known; `slow` are among these")
    routed: int = Field(default=0, description="requests given to it, answered or not: what the split is judged by")


class RolloutStep(Record):
    """One weight of a rollout and the verdict that ended it."""

    percent: int
    started_at: float
    duration_s: float
    decision: str
    reason: str
    guards: list[GuardVerdict]
    counts: list[RevisionCounts]


class EvidencePoint(Record):
    """One guard's e-values at one look, for the drawing of evidence over time."""

    t_s: float = Field(description="seconds since the rollout began")
    percent: int
    guard: str
    good: float
    bad: float


class RollbackCost(Record):
    """What a canary that was rolled back had cost; times are Unix seconds."""

    first_bad_at: float | None = Field(description="the first look at which a request of the canary was bad")
    decided_at: float
    effective_at: float = Field(description="when the gateway had stopped giving it requests")
    harmed: int = Field(description="requests of the canary that failed or were slow")
    requests: int = Field(description="requests of both revisions during the rollout")
    budget_share: float = Field(description="harmed over what the SLO's bounds allow of `requests`")

    @property
    def reaction_s(self) -> float:
        """From the first bad answer that was seen to no traffic for the canary."""
        return self.effective_at - (self.decided_at if self.first_bad_at is None else self.first_bad_at)


class Effect(Record):
    """An A/B test's difference (canary minus baseline) in one proportion, with an interval that is always valid."""

    metric: str
    baseline: float
    canary: float
    difference: float
    low: float
    high: float
    confidence: float


class AnswersRecord(Record):
    """Predictions of both revisions, compared by distribution and, for mirrored copies, one by one."""

    baseline: int = Field(description="predictions counted")
    canary: int
    compared: int = Field(default=0, description="mirrored copies whose answer was held against the baseline's")
    agreed: int = 0
    cuts: list[float] = Field(default=[], description="the baseline's deciles, at which the distributions are compared")
    baseline_below: list[int] = Field(default=[], description="predictions at or below each cut")
    canary_below: list[int] = []
    shift: float = Field(default=0.0, description="largest difference of the two distribution functions at the cuts")


class Approval(Record):
    """A manual gate of a rollout and what a person said to it."""

    percent: int
    asked_at: float
    answered_at: float | None
    answer: Literal["approved", "refused", "nobody answered"]
    by: str = ""


class RolloutRecord(Record):
    service: str
    kind: Literal["canary", "ab", "blue-green", "shadow"] = "canary"
    policy: str
    baseline: str
    canary: str
    outcome: str
    reason: str
    steps: list[RolloutStep]
    started_at: float = 0.0
    duration_s: float
    split: dict[str, Any] = {}
    evidence: list[EvidencePoint] = []
    rollback: RollbackCost | None = None
    effects: list[Effect] = []
    answers: AnswersRecord | None = None
    approvals: list[Approval] = []
    resumed: int = Field(default=0, description="how often it went on after its process had died")


class ChaosCase(Record):
    """One fault in one phase of one policy's rollout, and which invariants held."""

    policy: str
    phase: str
    fault: str
    outcome: str
    invariants: dict[str, str] = Field(description='invariant -> what broke it; "" where it held')
    duration_s: float
    rollback_s: float | None = Field(default=None, description="first bad answer to no traffic, if rolled back")
    budget_share: float | None = Field(default=None, description="share of the error budget that the rollback cost")
    detail: str = ""
