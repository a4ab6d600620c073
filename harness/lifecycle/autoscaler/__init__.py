"""The HorizontalPodAutoscaler as pure code: `decide(spec, observed, history, now)`, and what it predicts for a load."""

from __future__ import annotations

from harness.lifecycle.autoscaler.decision import Decision, History, decide, woken
from harness.lifecycle.autoscaler.predict import MetricsModel, Prediction, ServiceModel, Stage, predict
from harness.lifecycle.autoscaler.proposal import Proposal, propose
from harness.lifecycle.autoscaler.spec import (
    DOWN,
    UP,
    AutoscalerSpec,
    Observed,
    Policy,
    PolicyKind,
    Replica,
    Rules,
    Sample,
    Select,
    Target,
    TargetKind,
)
from harness.lifecycle.autoscaler.trace import Look, Reactions, reactions

__all__ = [
    "DOWN",
    "UP",
    "AutoscalerSpec",
    "Decision",
    "History",
    "Look",
    "MetricsModel",
    "Observed",
    "Policy",
    "PolicyKind",
    "Prediction",
    "Proposal",
    "Reactions",
    "Replica",
    "Rules",
    "Sample",
    "Select",
    "ServiceModel",
    "Stage",
    "Target",
    "TargetKind",
    "decide",
    "predict",
    "propose",
    "reactions",
    "woken",
]
