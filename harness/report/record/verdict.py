"""Of a run record: one guard's verdict, of a canary, a load or a capacity search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.report.record._base import Record


class GuardVerdict(Record):
    """One guard's sequential test: the bound, the counts, the evidence, the decision."""

    guard: str
    bound: float
    observed: float
    requests: int
    bad: int
    evidence_good: float = Field(description="e-value against 'the bound is broken'; promotes at 1/beta")
    evidence_bad: float = Field(description="e-value against 'the bound is kept'; rolls back at 1/alpha")
    promote_at: float = Field(default=1e3, description="1/beta: the evidence_good at which this guard promotes")
    roll_back_at: float = Field(default=1e3, description="1/alpha: the evidence_bad at which this guard rolls back")
    decision: Literal["promote", "roll back", "not enough evidence"]
    slower_than_ms: float | None = Field(default=None, description="what counts as slow, where that is what is guarded")
