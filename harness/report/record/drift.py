"""Of a run record: windows of traffic compared with the reference."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Number, Record


class DriftColumn(Record):
    column: str
    method: str
    score: Number
    threshold: float
    drifted: bool


class DriftRecord(Record):
    """One window compared with the held-out reference: held-out rows that the control window did not draw."""

    window: str
    rows: int
    reference_rows: int
    drifted: bool
    expected: bool | None = Field(default=None, description="what the rehearsal expects of this window, if it does")
    where: str = Field(default="", description="the condition that its rows match, if it has one")
    share_drifted: float
    share_threshold: float
    columns: list[DriftColumn]
    html: str = Field(default="", description="path of Evidently's page, relative to the run folder")
