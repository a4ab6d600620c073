"""A deployed InferenceService, as scenarios use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness._serving_port import DocumentPort
from harness.backends.inference_service import InferenceService, Metadata, Model, ModelFormat, Predictor, Spec, check
from harness.clients.inference import InferenceClient, Protocol
from harness.errors import ConfigError
from harness.lifecycle.driver import drive
from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.report.record import RevisionCounts, RolloutRecord
from harness.runtime.clock import WALL, Deadline

if TYPE_CHECKING:
    from harness.backends.backend import Backend
    from harness.model_version import ModelVersion
    from harness.run import Run

READY_S = 60.0
ROLLOUT_S = 600.0


@dataclass(frozen=True)
class Rollout:
    """How a rollout ended, why, and its record."""

    outcome: Outcome
    reason: str
    record: RolloutRecord


class Service:
    """One InferenceService: answers predictions, takes a canary, is deleted."""

    def __init__(
        self, backend: Backend, run: Run, document: InferenceService, *, model: ModelVersion | None = None
    ) -> None:
        self._backend = backend
        self._run = run
        self.model = model
        self.document = document
        self.name = document.name
        self.namespace = document.namespace
        self.host = document.host
        self.client = InferenceClient(backend.gateway_url, model=self.name, host=self.host)

    @property
    def revision(self) -> str:
        """The name of the revision that serves as the baseline."""
        return self.document.spec.predictor.name

    def require_model(self) -> ModelVersion:
        """The model version that it was deployed with; a service from a bare document has none."""
        if self.model is None:
            raise ConfigError(f"service {self.name}: it was applied without model=, which a load takes its rows from")
        return self.model

    def predict(self, rows: Sequence[Any], *, protocol: Protocol = "v1") -> list[float]:
        """Predictions for rows (each a list in column order, or a mapping by column), through the gateway."""
        return self.client.predict(rows, protocol=protocol)

    def status(self) -> dict[str, Any]:
        """The service's status as KServe writes it."""
        return self._backend.status(self.namespace, self.name).to_dict()

    def counts(self, slower_than_ms: float) -> list[RevisionCounts]:
        """Cumulative requests, failures and slow requests of each revision, from the gateway."""
        return self._backend.counts(self.namespace, self.name, slower_than_ms)

    def apply(self, document: InferenceService, *, deadline: Deadline | None = None) -> None:
        """Apply a changed document and wait until it is ready."""
        self._backend.apply(document)
        self.document = document
        self._backend.wait_ready(self.namespace, self.name, deadline or Deadline.after(READY_S))

    def canary(
        self,
        model: ModelVersion,
        *,
        steps: Sequence[int] = (10, 50, 100),
        slo: SLO | None = None,
        max_step_s: float = 60.0,
        min_step_s: float = 1.0,
        deadline: Deadline | None = None,
    ) -> Rollout:
        """Roll a model version out beside the one that serves, step by step, under the traffic that flows.

        The service ends with the canary as its only revision (PROMOTED), or with the baseline (otherwise).
        """
        policy = Canary(slo=slo or SLO(), steps=tuple(steps), max_step_s=max_step_s, min_step_s=min_step_s)
        port = DocumentPort(self, self._backend, policy, revision=revision_name(model), uri=model.uri)
        deadline = deadline or Deadline.after(ROLLOUT_S)
        record = drive(policy, port, WALL, deadline, self._on_event)
        self._run.record.rollouts.append(record)
        return Rollout(Outcome(record.outcome), record.reason, record)

    def delete(self) -> None:
        """Drain and remove the service."""
        self._backend.delete(self.namespace, self.name, Deadline.after(READY_S))

    def _on_event(self, kind: str, words: str, data: dict[str, Any]) -> None:
        self._run.events.emit(kind, f"{self.namespace}/{self.name}", words, **data)


def revision_name(model: ModelVersion) -> str:
    """The name of the revision that serves this model version."""
    return f"v{model.version}"


def inference_service(model: ModelVersion, *, name: str, namespace: str, replicas: int) -> InferenceService:
    """The serving.kserve.io/v1beta1 document that serves this model version."""
    document = InferenceService(
        metadata=Metadata(name=name, namespace=namespace),
        spec=Spec(
            predictor=Predictor(
                name=revision_name(model),
                min_replicas=replicas,
                model=Model(model_format=ModelFormat(name="mlflow"), protocol_version="v2", storage_uri=model.uri),
            )
        ),
    )
    check(document)
    return document
