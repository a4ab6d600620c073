"""What a training and a gate are asked and what they answer; light, because it crosses process borders as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import ConfigError
from harness.lifecycle.dataset import Dataset
from harness.report.record import ModelVersionRecord, PipelineRun

ESTIMATORS = ("decision-tree", "logistic-regression", "gradient-boosting")


@dataclass(frozen=True)
class TrainingSpec:
    """One run of the training pipeline.

    estimator: one of ESTIMATORS, or "module:function" of the user's `train(features, target, **params)`, which returns
      an object with `predict`.
    params: fixed hyper-parameters.
    space: name -> [choices] or {"low", "high"[, "log"]}, whole numbers if both ends are; None is the estimator's own.
    trials: how many Optuna trials; 0 trains with `params` alone.
    features: "engineered" hands a user's function the transformed columns, "raw" those of the file.
    run_folder: files go to <run_folder>/pipelines/<name>/.
    deadline_s: the longest that the search, and then the training, may take.
    step_python: an executable that stands in for `python` when kfp.local starts a step; None is this interpreter.
    source_root: a folder put first on sys.path, for the user's module.
    """

    dataset: Dataset
    model_name: str
    tracking_uri: str
    experiment: str
    run_folder: str
    name: str = "training"
    estimator: str = "decision-tree"
    params: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None
    trials: int = 0
    seed: int = 7
    features: Literal["engineered", "raw"] = "engineered"
    deadline_s: float = 120.0
    step_python: str | None = None
    source_root: str | None = None
    code_version: str = "unknown"

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS and not _is_entry_point(self.estimator):
            raise ConfigError(
                f"estimator {self.estimator!r}: expected {', '.join(ESTIMATORS)} or a training function module:function"
            )
        if self.trials < 0 or self.deadline_s <= 0:
            raise ConfigError(f"trials must be 0 or more and deadline_s above 0, got {self.trials}, {self.deadline_s}")
        if self.features not in ("engineered", "raw"):
            raise ConfigError(f"features: expected engineered or raw, got {self.features!r}")
        if self.features == "raw" and self.estimator in ESTIMATORS:
            raise ConfigError(f"features: raw is for a training function; {self.estimator} takes engineered ones")

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainingSpec:
        values = json.loads(text)
        return cls(**{**values, "dataset": Dataset.from_dict(values["dataset"])})


class PipelineResult(BaseModel):
    """What a finished pipeline leaves; paths are absolute.

    heldout: Parquet with features, target, slices and `offline_prediction` (the probability of class 1, or the value).
    quarantine: Parquet with the broken rows, and `quarantine_reason`.
    """

    model_config = ConfigDict(extra="forbid")

    run: PipelineRun
    model: ModelVersionRecord
    features: list[str]
    target: str
    heldout: str
    quarantine: str


@dataclass(frozen=True)
class GatePolicy:
    """The thresholds of the promotion gate.

    margin: how much worse than the champion the candidate may be, in AUC or as a share of the RMSE: the lower end of
      the paired bootstrap interval of the difference must stay above -margin.
    min_metric: the least AUC (or R2), whatever the champion's.
    max_calibration_error: expected calibration error, for regression the mean residual in sd of the target; either
      beyond what a perfectly calibrated model shows on as many rows by chance.
    slice_margin: how much any slice may lose, in AUC or as a share of the RMSE; min_slice_rows: smaller is not judged.
    max_latency_ms: the p95 of predicting a single row in process.
    """

    margin: float = 0.01
    confidence: float = 0.95
    resamples: int = 1000
    min_metric: float = 0.55
    max_calibration_error: float = 0.05
    slice_margin: float = 0.10
    min_slice_rows: int = 100
    max_latency_ms: float = 10.0
    latency_rows: int = 100
    seed: int = 7


@dataclass(frozen=True)
class GateSpec:
    """One judgement: versions of one model, on the held-out rows that the candidate's pipeline left."""

    model_name: str
    candidate: int
    champion: int | None
    tracking_uri: str
    heldout: str
    dataset: Dataset
    policy: GatePolicy = field(default_factory=GatePolicy)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> GateSpec:
        values = json.loads(text)
        parts = {"dataset": Dataset.from_dict(values["dataset"]), "policy": GatePolicy(**values.get("policy", {}))}
        return cls(**{**values, **parts})


def _is_entry_point(text: str) -> bool:
    module, colon, function = text.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))
