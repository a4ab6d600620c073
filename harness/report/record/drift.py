"""Of a run record: windows of traffic compared with the reference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.report.record._base import Number, Record


class DriftColumn(Record):
    column: str
    method: str
    score: Number
    threshold: float
    drifted: bool
    kind: Literal["data", "prediction", "quality"] = "data"
    note: str = Field(default="", description="what a test of no single column found")


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
    service: str = Field(default="", description="whose prediction log it is a window of, if it is")
    start: float | None = Field(default=None, description="of a window of a prediction log, Unix seconds")
    end: float | None = None
    labelled: int = 0
    false_alarm: float = Field(default=1e-3, description="the probability of a false alarm that the window may have")
    html: str = Field(default="", description="path of Evidently's page, relative to the run folder")
