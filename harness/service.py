"""A deployed InferenceService, as scenarios use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness._rollout_files import RolloutFiles, the_only_rollout
from harness._serving_port import DocumentPort
from harness.backends.backend import Capability
from harness.backends.document import parse
from harness.backends.inference_service import InferenceService, Metadata, Model, ModelFormat, Predictor, Spec, check
from harness.clients.inference import InferenceClient, Protocol
from harness.errors import CapabilityMissing, ConfigError, UsageError
from harness.lifecycle.driver import Approve, OnState, drive
from harness.lifecycle.rollout import ABTest, BlueGreen, Canary, Outcome, Policy, Shadow, State, untestable
from harness.lifecycle.slo import SLO
from harness.report.record import RevisionCounts, RolloutRecord
from harness.runtime.busy import busy_machine
from harness.runtime.clock import WALL, Deadline

if TYPE_CHECKING:
    from harness.backends.backend import Backend
    from harness.load import Load
    from harness.model_version import ModelVersion, Servable
    from harness.run import Run

READY_S = 60.0

Driver = Callable[..., RolloutRecord]
"""harness.lifecycle.driver.drive, or what stands in for it."""


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
        self.loads: list[Load] = []  # the loads that are under way
        key = backend.restriction.key if backend.restriction else None
        self.client = InferenceClient(backend.gateway_url, model=self.name, host=self.host, key=key)

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

    def processors(self) -> Mapping[str, Mapping[int, float]]:
        """Seconds of a core that the gateway and each revision's processes have used so far; empty if unknown here."""
        return self._backend.processors(self.namespace, self.name)

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
        **fields: Any,
    ) -> Rollout:
        """Roll a model version out beside the one that serves, step by step, under the traffic that flows.

        The service ends with the canary as its only revision (PROMOTED), or with the baseline (otherwise). `fields`
        are further ones of harness.lifecycle.rollout.Canary, here and in the next three of their policies.
        """
        policy = Canary(slo or SLO(), tuple(steps), max_step_s, min_step_s, **fields)
        return self.roll_out(model, policy, deadline=deadline)

    def ab_test(self, model: ModelVersion, *, slo: SLO | None = None, **fields: Any) -> Rollout:
        """Split the users between the two model versions until the difference in one metric is known."""
        return self.roll_out(model, ABTest(slo or SLO(), **fields))

    def blue_green(self, model: ModelVersion, *, slo: SLO | None = None, **fields: Any) -> Rollout:
        """Warm a model version with copies, give it all traffic at once, and promote it when the old one is idle."""
        return self.roll_out(model, BlueGreen(slo or SLO(), **fields))

    def shadow(self, model: ModelVersion, *, slo: SLO | None = None, **fields: Any) -> Rollout:
        """Give a model version copies of the traffic, and compare its answers with those of the one that serves."""
        return self.roll_out(model, Shadow(slo or SLO(), **fields))

    def roll_out(
        self,
        model: Servable,
        policy: Policy,
        *,
        deadline: Deadline | None = None,
        approve: Approve | None = None,
        on_state: OnState | None = None,
        resume: Path | None = None,
        driver: Driver = drive,
    ) -> Rollout:
        """Roll a model version out by a policy, under the traffic that flows; one rollout of a service at a time.

        `approve` answers manual gates, by default what `rehearse approve` said. `resume` is the state file that a
        rollout whose process died had left in its run folder. Errors: ConfigError if the loads on the service give too
        few requests for a verdict; UsageError for a second rollout of the service, and for a state that is of another
        one; PlatformError if it cannot be rolled back.
        """
        if isinstance(policy, Shadow | BlueGreen) and (why := self._backend.missing().get(Capability.COPIES)):
            raise CapabilityMissing(Capability.COPIES.value, hint=why)
        with the_only_rollout(self._run.folder, f"{self.namespace}/{self.name}"):
            # Read once no other process can change it: what that one ended must not begin again.
            state = RolloutFiles(resume).load() if resume else None
            policy = state.policy if state else policy
            if (
                problem := untestable(policy, sum(load.spec.shape.mean_rps for load in self.loads))
                if self.loads
                else ""
            ):
                raise ConfigError(f"{policy.kind}: {problem}")
            files = RolloutFiles(resume) if resume else RolloutFiles.new(self._run.folder, self.document.to_dict())
            before = parse(files.before())
            if state is not None:
                self._require_same(files, before, state, revision_name(model))
            port = DocumentPort(
                self,
                self._backend,
                policy,
                revision=revision_name(model),
                uri=model.uri,
                before=before,
                resumed=resume is not None,
            )
            record = self._driven(
                driver,
                policy,
                port,
                files,
                deadline=deadline or Deadline.after(policy.at_most_s),
                resume=state,
                approve=approve or (lambda state: files.said()),
                on_state=on_state,
            )
        self._run.record.rollouts.append(record)
        return Rollout(Outcome(record.outcome), record.reason, record)

    def _require_same(self, files: RolloutFiles, before: InferenceService, state: State, canary: str) -> None:
        """The evidence of one canary must not promote another one."""
        kept = f"{state.names[1]} on {before.namespace}/{before.name}"
        asked = f"{canary} on {self.namespace}/{self.name}"
        if kept != asked:
            raise UsageError(f"{files.path}: the rollout of {kept}, which cannot go on as one of {asked}")

    def _driven(
        self,
        driver: Driver,
        policy: Policy,
        port: DocumentPort,
        files: RolloutFiles,
        *,
        deadline: Deadline,
        on_state: OnState | None,
        **options: Any,
    ) -> RolloutRecord:
        """Drive with every state kept in its file; a rollout that is interrupted leaves none to go on from."""

        unsaved = False

        def keep(state: State) -> None:
            nonlocal unsaved
            try:
                files.save(state)
                unsaved = False
            except OSError as error:  # what is not kept cannot be resumed; the rollout itself goes on
                if not unsaved:
                    self._on_event("rollout.unsaved", f"the rollout's state cannot be kept: {error.strerror}", {})
                unsaved = True
            if on_state is not None:
                on_state(state)

        try:
            return driver(policy, port, WALL, deadline, self._on_event, on_state=keep, **options)
        except BaseException:
            files.interrupted()
            raise
        finally:
            port.close()

    def delete(self) -> None:
        """Drain and remove the service."""
        self._backend.delete(self.namespace, self.name, Deadline.after(READY_S))

    def _on_event(self, kind: str, words: str, data: dict[str, Any]) -> None:
        self._run.events.emit(kind, f"{self.namespace}/{self.name}", words, **data)
        if kind == "rollout.first_bad" and not data["failed"] and (told := busy_machine()):
            self._run.events.emit("machine.busy", "machine", told, level="warning")


def revision_name(model: Servable) -> str:
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
