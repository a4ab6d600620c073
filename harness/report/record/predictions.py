"""Of a run record: what a prediction log had of a service, and how good the predictions turned out to be."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Number, Record


class MetricRecord(Record):
    """A figure with its 95 % interval."""

    name: str = Field(description='"auc", "brier" or "rmse"')
    value: Number
    low: Number
    high: Number

    @property
    def standard_error(self) -> float:
        """By the normal approximation: half of the interval is 1.96 of them."""
        return (self.high - self.low) / 2 / 1.959964


class QualityWindow(Record):
    """A window of time, Unix seconds; without metrics there were too few labels in it."""

    start: float
    end: float
    rows: int
    labelled: int
    metrics: list[MetricRecord] = []


class PredictionsRecord(Record):
    """The log of one service when it was read; `rows` are rows that were predicted, a request may have several."""

    service: str
    rows: int
    labelled: int
    unanswered: int = Field(description="requests without a response in the log")
    unasked: int = Field(description="responses without a request in the log")
    unreadable: int = Field(description="calls that failed, or have other columns than the model")
    revisions: dict[str, int] = Field(default={}, description="revision -> rows that it predicted")
    windows: list[QualityWindow] = []
