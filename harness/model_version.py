"""A registered model version, as scenarios hand it around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.lifecycle.dataset import Dataset
from harness.lifecycle.spec import PipelineResult


class Servable(Protocol):
    """What a release asks of a model version: its name and number, and the storageUri that serves it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def uri(self) -> str: ...


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model, with its data set and the files that its training left."""

    dataset: Dataset
    result: PipelineResult

    @property
    def name(self) -> str:
        return self.result.model.name

    @property
    def version(self) -> int:
        return self.result.model.version

    @property
    def uri(self) -> str:
        """MLflow's URI, which is also the storageUri of an InferenceService."""
        return f"models:/{self.name}/{self.version}"

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics on the held-out rows."""
        return self.result.model.metrics

    @property
    def features(self) -> list[str]:
        """The model's inputs, in the order of its signature."""
        return self.result.features
