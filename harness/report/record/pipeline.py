"""Of a run record: training and registration, the promotion gate, and the check of what is served."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.report.record._base import Number, Record, Status, how_many_passed
from harness.report.record.checks import ChecksRecord


class PipelineTask(Record):
    """One task of a pipeline run; `cached` if its outputs came from the cache."""

    name: str
    status: Status
    cached: bool
    duration_s: float
    detail: str = ""


class Trial(Record):
    """One hyper-parameter trial, a nested MLflow run; `best` is the one whose parameters were taken."""

    number: int
    params: dict[str, Any]
    value: Number
    run_id: str
    best: bool = False


class PipelineRun(Record):
    name: str
    compiled: str = Field(description="path of the compiled KFP YAML, relative to the run folder")
    tasks: list[PipelineTask]
    trials: list[Trial] = []
    rows: int
    quarantined_rows: int
    quarantine_reasons: dict[str, int] = {}
    data_fingerprint: str
    duration_s: float
    runner: str = Field(default="local", description="who ran its steps: local (kfp.local), cluster (Jobs), trainer")


class ModelVersionRecord(Record):
    """One registered model version."""

    name: str
    version: int
    run_id: str
    aliases: list[str] = []
    estimator: str
    params: dict[str, Any]
    metrics: dict[str, Number]
    features: list[str] = []
    code_version: str
    data_fingerprint: str
    intervals: dict[str, tuple[Number, Number]] = Field(default={}, description="metric -> its 95 % interval")
    data: dict[str, Any] = Field(
        default={}, description="the data set: name, source, licence, target, rows held out, ..."
    )
    pipeline: str = Field(default="", description="the name of the pipeline run that trained it")
    plots: dict[str, str] = Field(default={}, description="title -> inline SVG")


class GateLine(Record):
    """One line of the promotion gate, with the numbers it rests on."""

    name: str
    passed: bool | None = Field(description="None if there was nothing to judge by")
    observed: str
    required: str
    detail: str = ""


class GateRecord(Record):
    model: str
    candidate: int
    champion: int | None
    passed: bool = Field(description="no line failed")
    lines: list[GateLine]

    @property
    def summary(self) -> str:
        """How many of the lines that were judged passed, and how many were not judged."""
        return how_many_passed([each.passed for each in self.lines])

    def with_checks(self, checks: ChecksRecord) -> GateRecord:
        """The gate with a line more for each check of the candidate."""
        more = [
            GateLine(
                name=f"check: {e.name}", passed=e.passed, observed=e.observed, required=e.required, detail=e.detail
            )
            for e in checks.results
        ]
        lines = [*self.lines, *more]
        return self.model_copy(update={"lines": lines, "passed": all(line.passed is not False for line in lines)})

    @property
    def refusal(self) -> str:
        """What each line that failed saw, and what it required; empty if none failed."""
        failed = [line for line in self.lines if line.passed is False]
        return "; ".join(f"{line.name}: {line.observed}, required {line.required}" for line in failed)


class SmokeRecord(Record):
    """Served answers compared with the offline model's on held-out rows."""

    service: str
    rows: int
    protocols: list[str]
    mismatches: int
    largest_difference: Number
