"""Of a run record: how a service scaled under a load."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Record


class ScalingLook(Record):
    """What was so at one moment, in seconds since the load began: the metric as the autoscaler saw it, the counts."""

    at_s: float
    metric: float | None
    desired: int
    ready: int


class ReactionTimes(Record):
    """Seconds since the load began (`back_s`: since it ended) until something was so; None: it never was."""

    metric_s: float | None = Field(description="the autoscaler saw the metric above its target")
    decided_s: float | None = Field(description="more replicas were asked for")
    first_s: float | None = Field(description="one more was ready")
    ready_s: float | None = Field(description="as many as were ever asked for were ready")
    back_s: float | None = Field(description="the replicas were down to the least again")
    peak: int = Field(description="the most replicas that were asked for")


class ScalingRecord(Record):
    """How a service scaled under one load, beside what the autoscaler's formula predicts for that load."""

    service: str
    metric: str
    target: float = Field(description="in `unit`, for each replica")
    unit: str = Field(default="%", description="of the metric: % of what the replicas request, or of requests")
    least: int
    most: int
    load: str
    rps: float
    load_s: float
    looks: list[ScalingLook]
    measured: ReactionTimes
    predicted_looks: list[ScalingLook] = []
    predicted: ReactionTimes | None = Field(default=None, description="None where the load showed too little")
    cpu_ms_per_request: float | None = Field(default=None, description="measured, and what the prediction assumes")
    start_s: float | None = Field(default=None, description="of a replica, measured, and what the prediction assumes")
    blocked: list[str] = Field(default=[], description="what kept replicas from starting")
