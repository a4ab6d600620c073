"""Of a run record: the alerts that were raised."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Record


class AlertRecord(Record):
    """One alert, from when its rule held until it did not."""

    name: str
    labels: dict[str, str] = Field(default={}, description="without its name and its severity")
    severity: str = ""
    summary: str
    description: str = ""
    value: str = Field(default="", description="of the rule's expression when it was raised")
    runbook: str = ""
    fingerprint: str = Field(default="", description="Alertmanager's own for these labels")
    started_at: float
    told_at: float = Field(description="when we were told")
    resolved_at: float | None = Field(default=None, description="None: it still held at the end of the run")
