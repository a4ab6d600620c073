"""Of a run record: what a closed loop did about an alert."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Record
from harness.report.record.predictions import MetricRecord


class LoopRound(Record):
    """One round of a closed loop, from the alert to its end; moments are Unix seconds, None: it did not get so far."""

    service: str
    alerts: list[str] = Field(description="names of those that began it")
    joined: int = Field(default=0, description="alerts that came while it was under way, and began nothing")
    shift_at: float | None = Field(default=None, description="when the shift began, if somebody knows")
    since: float = Field(description="when the first drifted window began: fresh rows are those from then on")
    alerted_at: float
    rows: int = Field(default=0, description="fresh rows with a label that it was trained on")
    gathered_at: float | None = None
    version: int | None = Field(default=None, description="of the model that it trained")
    trained_at: float | None = None
    judged_at: float | None = Field(default=None, description="when the promotion gate had spoken")
    released_at: float | None = Field(default=None, description="when the new version had all traffic")
    ended_at: float | None = None
    outcome: str = Field(default="under way", description="or a word of harness.lifecycle.loop.Outcome")
    reason: str = ""
    before: MetricRecord | None = Field(default=None, description="quality of the old version before the shift")
    during: MetricRecord | None = Field(default=None, description="of the old version on the fresh rows")
    after: MetricRecord | None = Field(default=None, description="of the new version, on the traffic that came then")
    ignored: int = Field(default=0, description="alerts that came while it held the loop, and began nothing")
