"""The run record: everything the report shows, as one versioned schema that is written to run.json.

Shares and probabilities are in [0, 1]; durations in seconds (`_s`) or milliseconds (`_ms`); times are Unix seconds
(`_at`). JSON has no NaN: where one is possible (`Number`) run.json has null, which is read as NaN.
"""

from __future__ import annotations

from harness.report.record._base import Number, Status
from harness.report.record.access import AccessCell
from harness.report.record.alerts import AlertRecord
from harness.report.record.capacity import CapacityRecord, CapacityStep
from harness.report.record.checks import CardRecord, CheckResult, ChecksRecord
from harness.report.record.drift import DriftColumn, DriftRecord
from harness.report.record.features import FeatureStoreRecord, FeatureViewRecord
from harness.report.record.findings import ClusterFinding, EventRecord, UpstreamFinding
from harness.report.record.gitops import CommitRecord, CommitStatus, GitOpsRecord, SyncRecord
from harness.report.record.load import (
    LatencySummary,
    LoadRecord,
    LoadTimeline,
    RevisionTimeline,
    ShapeRecord,
    timeline_of,
)
from harness.report.record.loop import LoopRound
from harness.report.record.pipeline import (
    GateLine,
    GateRecord,
    ModelVersionRecord,
    PipelineRun,
    PipelineTask,
    SmokeRecord,
    Trial,
)
from harness.report.record.predictions import MetricRecord, PredictionsRecord, QualityWindow
from harness.report.record.rollout import (
    AnswersRecord,
    Approval,
    ChaosCase,
    Effect,
    EvidencePoint,
    RevisionCounts,
    RollbackCost,
    RolloutRecord,
    RolloutStep,
)
from harness.report.record.run import ComponentRecord, LimitRecord, RunRecord, SeriesRecord, Skip, Step
from harness.report.record.scaling import ReactionTimes, ScalingLook, ScalingRecord
from harness.report.record.verdict import GuardVerdict

__all__ = [
    "AccessCell",
    "AlertRecord",
    "AnswersRecord",
    "Approval",
    "CapacityRecord",
    "CapacityStep",
    "CardRecord",
    "ChaosCase",
    "CheckResult",
    "ChecksRecord",
    "ClusterFinding",
    "CommitRecord",
    "CommitStatus",
    "ComponentRecord",
    "DriftColumn",
    "DriftRecord",
    "Effect",
    "EventRecord",
    "EvidencePoint",
    "FeatureStoreRecord",
    "FeatureViewRecord",
    "GateLine",
    "GateRecord",
    "GitOpsRecord",
    "GuardVerdict",
    "LatencySummary",
    "LimitRecord",
    "LoadRecord",
    "LoadTimeline",
    "LoopRound",
    "MetricRecord",
    "ModelVersionRecord",
    "Number",
    "PipelineRun",
    "PipelineTask",
    "PredictionsRecord",
    "QualityWindow",
    "ReactionTimes",
    "RevisionCounts",
    "RevisionTimeline",
    "RollbackCost",
    "RolloutRecord",
    "RolloutStep",
    "RunRecord",
    "ScalingLook",
    "ScalingRecord",
    "SeriesRecord",
    "ShapeRecord",
    "Skip",
    "SmokeRecord",
    "Status",
    "Step",
    "SyncRecord",
    "Trial",
    "UpstreamFinding",
    "timeline_of",
]
