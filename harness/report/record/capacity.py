"""Of a run record: the search for the highest rate that keeps the SLO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.report.record._base import Number, Record
from harness.report.record.verdict import GuardVerdict


class CapacityStep(Record):
    """One rate that a capacity search tried, and what it saw there after the load had settled."""

    rate: float = Field(description="requests a second that were offered")
    purpose: Literal["seek", "confirm"]
    started_at: float
    duration_s: float
    requests: int = Field(description="judged: those that were due after the load had settled")
    failed: int
    slow: int
    effective: float = Field(description="requests that count as independent: correlated ones tell less")
    p50_ms: Number = Field(description="null where none was answered")
    p99_ms: Number
    guards: list[GuardVerdict]
    decision: Literal["kept", "broken", "open", "withheld"]
    reason: str = ""
    load: str = Field(default="", description="name of the load in `loads`, if it was kept there")


class CapacityRecord(Record):
    """A capacity search: the highest rate that was shown to keep the SLO, and the lowest that was shown to break it."""

    service: str
    slo: dict[str, float] = Field(description="errors, slower_than_ms, slow")
    confidence: float = Field(description="with which `capacity_rps` keeps the SLO, over the whole search")
    precision: float = Field(description="how near, as a share, the two rates were to come")
    low_rps: float
    high_rps: float
    budget_s: float
    duration_s: float
    steps: list[CapacityStep]
    capacity_rps: float | None = Field(description="None: no rate was shown to keep the SLO")
    broken_rps: float | None = Field(description="None: none was shown to break it")
    reason: str = Field(description="one sentence: what ended the search")
