"""The run record itself, with its steps and components; all other models are its parts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from harness.report.record._base import Number, Record, Status
from harness.report.record.access import AccessCell
from harness.report.record.alerts import AlertRecord
from harness.report.record.capacity import CapacityRecord
from harness.report.record.checks import CardRecord, ChecksRecord
from harness.report.record.drift import DriftRecord
from harness.report.record.features import FeatureStoreRecord
from harness.report.record.findings import ClusterFinding, EventRecord, UpstreamFinding
from harness.report.record.gitops import GitOpsRecord
from harness.report.record.load import LoadRecord
from harness.report.record.loop import LoopRound
from harness.report.record.pipeline import GateRecord, ModelVersionRecord, PipelineRun, SmokeRecord
from harness.report.record.predictions import PredictionsRecord
from harness.report.record.rollout import ChaosCase, RolloutRecord
from harness.report.record.scaling import ScalingRecord


class Step(Record):
    """One visible step of a run; `detail` is the one line that the progress display and the timeline show."""

    name: str
    title: str
    status: Status
    started_at: float
    duration_s: float = 0.0
    detail: str = ""
    error: str = ""
    hint: str = ""


class ComponentRecord(Record):
    """One component: how long until ready (None: it was there, nobody started it), and where its log is."""

    name: str
    version: str
    ready_s: float | None
    address: str = ""
    log: str = ""


class Skip(Record):
    """A step that was not done because a capability is missing, and how to get it."""

    step: str
    capability: str
    reason: str


class LimitRecord(Record):
    """A value from which on a panel shows something bad."""

    at: float
    label: str


class SeriesRecord(Record):
    """One panel of a dashboard: a query of the platform's Prometheus over the run; no points: it had no answer."""

    dashboard: str = ""
    name: str
    query: str
    unit: str
    says: str = ""
    points: dict[str, list[tuple[float, Number]]] = Field(description="label -> [(Unix seconds, value)]")
    left_out: int = Field(default=0, description="lines beyond what a chart can tell apart")
    limit: LimitRecord | None = None
    powers: tuple[int, int] | None = Field(default=None, description="ends of a logarithmic axis, as powers of ten")


class RunRecord(Record):
    """All that one run did and found; the report renders from this alone."""

    schema_version: Literal[1] = 1
    run_id: str
    title: str
    backend: str
    command: str
    started_at: float
    duration_s: float = 0.0
    setup_s: float = Field(default=0.0, description="time from the command to the first step")
    status: Status = Status.RUNNING
    decided_by: str = Field(default="", description="one sentence: what decided the outcome")
    hint: str = Field(default="", description="the next command to run when the run failed")
    dataset: dict[str, Any] = {}
    steps: list[Step] = []
    pipelines: list[PipelineRun] = []
    models: list[ModelVersionRecord] = []
    gates: list[GateRecord] = []
    checks: list[ChecksRecord] = []
    cards: list[CardRecord] = []
    smoke: list[SmokeRecord] = []
    rollouts: list[RolloutRecord] = []
    loads: list[LoadRecord] = []
    capacity: list[CapacityRecord] = []
    scaling: list[ScalingRecord] = []
    chaos: list[ChaosCase] = []
    drift: list[DriftRecord] = []
    predictions: list[PredictionsRecord] = []
    alerts: list[AlertRecord] = []
    access: list[AccessCell] = []
    features: FeatureStoreRecord | None = None
    gitops: GitOpsRecord | None = None
    rounds: list[LoopRound] = Field(default=[], description="of a closed loop, the first first")
    components: list[ComponentRecord] = []
    series: list[SeriesRecord] = []
    events: list[EventRecord] = Field(
        default=[], description="what happened around the first symptom of a run that did not pass"
    )
    cluster: list[ClusterFinding] = Field(
        default=[], description="what was abnormal in the cluster of a run that did not pass, the first first"
    )
    upstream: list[UpstreamFinding] = []
    skips: list[Skip] = []
    versions: dict[str, str] = {}
    environment: dict[str, Any] = {}
    peak_memory_mb: float = 0.0
    artifacts: dict[str, str] = Field(default={}, description="what a file in the run folder is -> its relative path")
