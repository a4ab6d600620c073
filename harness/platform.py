"""The platform, as scenarios use it: train, deploy, load, compare, drift, query, on any backend."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness._access import Access
from harness._drift_watch import DriftSettings, DriftWatch
from harness._model_card import make_card
from harness._model_checks import check_version
from harness._prediction_log import PredictionLog, logged
from harness._reproduce import longest
from harness._scaling import Scaling, scaled
from harness._traffic import (
    GATEWAY,
    GatewayOutages,
    Window,
    accounted,
    mismatches,
    the_shape,
    windows_spec,
    write_bodies,
)
from harness.backends.alerts import Inbox
from harness.backends.backend import CAPABILITY_OF, Backend, Capability, Part
from harness.backends.document import parse
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.pipeline_runner import AUTO, default_runner
from harness.backends.pipeline_runner import job as pipeline_job
from harness.backends.pipeline_runner import runner as choose_runner
from harness.backends.scaling import GPU
from harness.backends.session import open_backend
from harness.clients.inference import Protocol, path_of
from harness.clients.mlflow import MLflowClient
from harness.errors import CapabilityMissing, GateRefused, RehearsalError, UsageError
from harness.feature_store import FeatureStore, Sessions
from harness.gitops import GitOps
from harness.gitops.checks import Rules
from harness.lifecycle.card import CardWords
from harness.lifecycle.checks import Check, load_checks
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.drift_windows import WindowPlan
from harness.lifecycle.loop import LoopPolicy
from harness.lifecycle.slo import SLO
from harness.lifecycle.spec import GatePolicy, GateSpec, PipelineResult, TrainingSpec
from harness.load import Load, LoadSpec
from harness.load.arrivals import Arrivals
from harness.load.remote import refuse_leaving
from harness.load.shapes import Shape
from harness.load.spec import check as check_load
from harness.load.spec import check_shape
from harness.loop import Answering, ClosedLoop
from harness.model_version import ModelVersion, Servable
from harness.monitoring import panels
from harness.report.record import CardRecord, ChecksRecord, DriftRecord, GateRecord, SmokeRecord
from harness.run import Run, code_version
from harness.runtime.clock import Deadline
from harness.runtime.events import Listener
from harness.runtime.interrupts import held
from harness.service import READY_S, Service, inference_service

TRAINING_S = 300.0
JOB_S = 120.0
PRODUCTION = "production"
STAGING = "staging"
DIAGNOSTICS = "diagnostics/index.md"


class Platform:
    """One platform of one run; a context manager that stops what it started and writes the run's record."""

    def __init__(self, backend: Backend, run: Run, *, seed: int = 7, runner: str = AUTO) -> None:
        self.backend = backend
        self.run = run
        self.seed = seed
        self.runner = choose_runner(runner)
        self._loads = 0
        self._trainings = 0
        self._clients = ExitStack()
        self._clients.callback(self._note_panels)
        self._served: list[tuple[str, str]] = []
        self._outages = GatewayOutages()
        run.events.listen(self._outages)
        self._registry: MLflowClient | None = None

    @classmethod
    @contextmanager
    def up(
        cls,
        folder: Path,
        *,
        world: WorldOptions | None = None,
        listener: Listener | None = None,
        deadline: Deadline | None = None,
    ) -> Iterator[Platform]:
        """A platform with every part started, in a run folder of its own; embedded unless `world` says otherwise."""
        options = world or WorldOptions()
        run = Run(folder, title="A platform that is kept up", backend=options.backend, listener=listener)
        with run, open_backend(options, folder, run.events) as backend, cls(backend, run) as platform:
            platform.start(Part.TRACKING, Part.SERVING, *platform.available(Part.METRICS), deadline=deadline)
            yield platform

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = self.backend.cause_first(error) if isinstance(error, Exception) else error
        if isinstance(error, Exception) and not isinstance(error, UsageError | CapabilityMissing):
            self._diagnose()
        self.close()
        if cause is not error and cause is not None:
            raise cause from error

    def close(self) -> None:
        """Stop everything that the platform started; a Ctrl-C waits until that is done."""
        with held():
            self._close()

    def _diagnose(self) -> None:
        """Look at the cluster while what failed is still there; that must not hide why the run failed."""
        try:
            self.run.record.cluster = self.backend.diagnose()
        except RehearsalError as error:
            self.run.events.emit("diagnostics.failed", self.backend.name, error.message, level="warning")
        if (self.run.folder / DIAGNOSTICS).is_file():
            self.run.record.artifacts["diagnostics"] = DIAGNOSTICS

    def _close(self) -> None:
        self._clients.close()
        try:
            self.run.record.components = self.backend.components()
            self.run.record.alerts = self.backend.raised()
        finally:
            self.backend.close()

    def _note_panels(self) -> None:
        """What the dashboards show of this run, while its Prometheus is there; one that is gone hides nothing else."""
        record = self.run.record
        busy = {each.service for each in record.loads} | {each.service for each in record.rollouts}
        services = [place for place in self._served if "/".join(place) in busy] or self._served
        if not self.backend.measured():
            return
        try:
            record.series = panels(self.backend, services, record.started_at, time.time())
        except RehearsalError as error:
            self.run.events.emit("metrics.failed", "prometheus", error.message, level="warning")

    def start(self, *parts: Part, deadline: Deadline | None = None) -> None:
        """Start parts of the platform ahead of their first use, in parallel."""
        self.backend.start(parts, deadline or Deadline.after(READY_S))

    def missing(self, capability: Capability) -> str:
        """Why this backend lacks a capability here and how to get it; empty if it has it."""
        return self.backend.missing().get(capability, "")

    def require(self, capability: Capability) -> None:
        """Raise CapabilityMissing, with how to get it, if this backend lacks a capability here."""
        if why := self.missing(capability):
            raise CapabilityMissing(capability.value, hint=why)

    def available(self, *parts: Part) -> list[Part]:
        """Those of the parts that can be had here; for each other one an event says why not."""
        missing = self.backend.missing()
        for part in parts:
            if reason := missing.get(CAPABILITY_OF[part]):
                self.run.events.emit("capability.missing", part.value, reason, level="warning")
        return [part for part in parts if CAPABILITY_OF[part] not in missing]

    @property
    def alerts(self) -> Inbox:
        """The alerts of this run; Prometheus and Alertmanager are started when first asked for.

        Errors: CapabilityMissing where there is no Alertmanager.
        """
        self.require(Capability.ALERTS)
        return self.backend.alerts

    @property
    def registry(self) -> MLflowClient:
        """The model registry and tracking server."""
        if self._registry is None:
            restriction = self.backend.restriction
            login = restriction.login if restriction else None
            self._registry = self._clients.enter_context(MLflowClient(self.backend.tracking_uri, login=login))
        return self._registry

    def restricted(self) -> Access:
        """Let nobody in from now on but by role, at MLflow and at the gateway; before anything else is asked for.

        Errors: CapabilityMissing where this world cannot; UsageError if MLflow or the gateway runs already.
        """
        self.require(Capability.ACCESS)
        access = Access(self)
        self._clients.callback(access.close)
        return access

    def train(
        self,
        dataset: Dataset,
        *,
        estimator: str = "decision-tree",
        train: str | None = None,
        trials: int = 0,
        space: Mapping[str, Any] | None = None,
        name: str | None = None,
        runner: str | None = None,
        deadline: Deadline | None = None,
        **params: Any,
    ) -> ModelVersion:
        """Run the training pipeline on a data set and register the result as a new version, alias `candidate`.

        `train` is your own "module:function" instead of a built-in estimator; `params` are its hyper-parameters.
        `runner` says where the steps run: "local" (default), "cluster" (a step a Pod) or "trainer" (one TrainJob).
        Errors: DataError for the data, TrainingFunctionError for your function, TrainingFailed for the pipeline.
        """
        self._trainings += 1
        spec = self.training_spec(
            dataset,
            name=name or f"training-{self._trainings}",
            estimator=train or estimator,
            params=params,
            space=space,
            trials=trials,
            source_root=str(Path.cwd()) if train else None,
        )
        return self.run_pipeline(spec, runner=runner, deadline=deadline)

    def training_spec(self, dataset: Dataset, **choices: Any) -> TrainingSpec:
        """The spec of a training on this platform; `choices` are fields of TrainingSpec."""
        choices = {"seed": self.seed, **choices}
        return TrainingSpec(
            dataset=dataset,
            model_name=dataset.name,
            tracking_uri=self.backend.tracking_uri,
            experiment=dataset.name,
            run_folder=str(self.run.folder),
            step_python=self.backend.step_python(),
            code_version=code_version(Path(choices.get("source_root") or Path.cwd())),
            **choices,
        )

    def run_pipeline(
        self, spec: TrainingSpec, *, runner: str | None = None, deadline: Deadline | None = None
    ) -> ModelVersion:
        """Run the training pipeline as a spec says; by the platform's runner unless another is named."""
        deadline = deadline or Deadline.after(TRAINING_S)
        chosen = choose_runner(runner or AUTO) or self.runner or default_runner(self.backend)
        target, text = pipeline_job(self.backend, chosen, spec, deadline)
        answer = self.backend.work(
            target,
            text,
            name=f"pipeline-{spec.name}",
            deadline=deadline,
            progress=lambda line: self.run.progress(spec.name, f"{line['task']}: {line['status']}"),
        )
        result = PipelineResult.model_validate(answer)
        result.run.runner = chosen
        self.run.record.pipelines.append(result.run)
        self.run.record.models.append(result.model)
        return ModelVersion(spec.dataset, result)

    def check(
        self,
        model: ModelVersion,
        checks: Sequence[Check] | Path | str,
        *,
        service: Service | None = None,
        live: Service | None = None,
    ) -> ChecksRecord:
        """Make checks of a model version: a list of them, or the TOML file that has them (docs/model-checks.md).

        `service` serves this version, for the checks of what is served; `live` is the service whose clients it will
        meet, for the check of what they send. A check whose service is not given is not judged. Errors: ConfigError for
        a file or a column that makes no sense; UsageError if `service` serves another version.
        """
        chosen = load_checks(checks) if isinstance(checks, Path | str) else checks
        record = check_version(self, model, chosen, service=service, live=live)
        self.run.record.checks.append(record)
        return record

    def judge(
        self,
        candidate: ModelVersion,
        champion: Servable | None = None,
        *,
        policy: GatePolicy | None = None,
        checks: ChecksRecord | None = None,
    ) -> GateRecord:
        """Hold a candidate against the promotion gate, and against the champion if there is one.

        `checks` of the candidate, as `check` returned them, are further lines of the gate.
        """
        spec = GateSpec(
            model_name=candidate.name,
            candidate=candidate.version,
            champion=champion.version if champion else None,
            tracking_uri=self.backend.tracking_uri,
            heldout=candidate.result.heldout,
            dataset=candidate.dataset,
            policy=policy or GatePolicy(),
        )
        name = f"gate-v{candidate.version}"
        answer = self.backend.work(
            "harness.lifecycle.gate:main", spec.to_json(), name=name, deadline=Deadline.after(JOB_S)
        )
        record = GateRecord.model_validate(answer)
        if checks is not None:
            record = record.with_checks(checks)
        self.run.record.gates.append(record)
        return record

    def card(self, model: ModelVersion, words: CardWords | None = None) -> CardRecord:
        """Write the card of a model version into the run folder and into MLflow, from what the record has by now.

        It is an artifact of the version's run, linked from the version's description and its tag `model_card`; a card
        that was there is replaced. `words` is what only people know: intended use, owner, limitations.
        """
        self._note_aliases(model.name)
        card = make_card(self.run.record, self.registry, model, words or CardWords(), self.run.folder)
        self.run.events.emit("card.stored", f"{model.name} v{model.version}", card.uri)
        return card

    def promote(self, candidate: Servable, alias: str, *, gate: GateRecord | None = None) -> None:
        """Move an alias (`staging`, `champion`) to a version; raises GateRefused if `gate` did not pass."""
        if gate is not None and not gate.passed:
            raise GateRefused(f"{candidate.name} v{candidate.version} may not become {alias}: {gate.refusal}.")
        self.registry.set_alias(candidate.name, alias, candidate.version)
        self._note_aliases(candidate.name)
        self.run.events.emit("registry.alias", candidate.name, f"{alias} -> version {candidate.version}")

    def deploy(
        self,
        model: ModelVersion,
        *,
        name: str | None = None,
        namespace: str = PRODUCTION,
        replicas: int = 1,
        deadline: Deadline | None = None,
    ) -> Service:
        """Serve a model version as an InferenceService and wait until it is ready."""
        document = inference_service(model, name=name or model.name, namespace=namespace, replicas=replicas)
        return self.apply(document, model=model, deadline=deadline)

    def apply(
        self,
        document: InferenceService | Mapping[str, Any] | str | Path,
        *,
        model: ModelVersion | None = None,
        deadline: Deadline | None = None,
    ) -> Service:
        """Apply an InferenceService document (mapping, YAML text or file) and wait until it is ready.

        `model` is the version that the document serves; a load takes its payloads from there.
        """
        parsed = document if isinstance(document, InferenceService) else parse(document)
        parsed = parsed.in_namespace(self.backend.namespace(parsed.namespace))
        self.backend.apply(parsed)
        self._served.append((parsed.namespace, parsed.name))
        service = Service(self.backend, self.run, parsed, model=model)
        self._clients.callback(service.client.close)
        self.backend.wait_ready(service.namespace, service.name, deadline or Deadline.after(READY_S))
        return service

    def sample(self, model: ModelVersion, samples: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Any]:
        """Held-out rows of a model's data set with its offline predictions; see harness.lifecycle.sampling."""
        spec = {
            "heldout": model.result.heldout,
            "features": model.features,
            "seed": self.seed,
            "samples": list(samples),
            **options,
        }
        return self.job("harness.lifecycle.sampling:main", spec, name="sampling")["samples"]  # type: ignore[no-any-return]

    def smoke(self, service: Service, model: ModelVersion, *, rows: int = 50, tolerance: float = 1e-9) -> SmokeRecord:
        """Ask a service for held-out rows in both protocols and compare with the offline model's predictions."""
        drawn = self.sample(model, [{"name": "smoke", "rows": rows}])["smoke"]
        protocols: tuple[Protocol, ...] = ("v1", "v2")
        # V2 gets a tensor for each column, because text has no place in a matrix of numbers.
        named = [dict(zip(model.features, row, strict=True)) for row in drawn["rows"]]
        asked: dict[str, list[Any]] = {"v1": drawn["rows"], "v2": named}
        differences = [
            abs(served - offline)
            for protocol in protocols
            for served, offline in zip(
                service.predict(asked[protocol], protocol=protocol), drawn["offline"], strict=True
            )
        ]
        record = SmokeRecord(
            service=f"{service.namespace}/{service.name}",
            rows=len(drawn["rows"]),
            protocols=list(protocols),
            mismatches=mismatches(differences, tolerance),
            largest_difference=max(differences),
        )
        self.run.record.smoke.append(record)
        return record

    @contextmanager
    def load(
        self,
        service: Service,
        *,
        rps: float | None = None,
        shape: Shape | str | None = None,
        trace: Path | str | None = None,
        arrivals: Arrivals = "constant",
        processes: int = 1,
        workers: int = 0,
        users: int = 0,
        slo: SLO | None = None,
        model: ModelVersion | None = None,
        payload: Path | None = None,
        rows: int = 500,
        protocol: Protocol = "v1",
        max_s: float | None = None,
    ) -> Iterator[Load]:
        """Offer a load to a service while the block lasts; at its end every request is accounted for.

        At one rate, `rps` requests a second, for up to `max_s` seconds (600); as a `shape` of harness.load.shapes, as
        one in a line ("ramp:to_rps=200") or in a .toml file; or as a `trace` recorded it. A shape ends by itself: the
        load's `wait` waits for that. `arrivals`: "constant" or "poisson", never waiting for an answer; `users` are
        named in x-user-id; `slo` judges the latencies that the clients see; `workers`, if not 0, are Pods that send it,
        in a cluster; LoadSpec has the rest. Errors: LoadFailed if a request is unexplained, with examples; the record
        and the ledger are there all the same; CapabilityMissing for workers where there are no Pods. The bodies are the
        lines of `payload`, or else held-out rows of `model` (default: the version that the service was deployed with)
        in the inference `protocol`.
        """
        wanted = the_shape(rps, shape, trace)
        max_s = longest(wanted) if max_s is None else max_s
        check_load(arrivals=arrivals, processes=processes, workers=workers, users=users, max_s=max_s)
        check_shape(wanted, arrivals, max_s)
        refuse_leaving(self.backend.leaves_machine)
        if workers:
            self.require(Capability.DISTRIBUTED_LOAD)
        self._loads += 1
        folder = self.run.folder / "loads" / f"load-{self._loads}"
        folder.mkdir(parents=True)
        if payload is None:
            payload = folder / "requests.jsonl"
            self.write_payload(payload, model or service.require_model(), rows=rows, protocol=protocol)
        spec = LoadSpec(
            name=folder.name,
            url=self.backend.gateway_url,
            host=service.host,
            path=path_of(protocol, service.name),
            payload=payload,
            shape=wanted,
            max_s=max_s,
            arrivals=arrivals,
            seed=self.seed,
            processes=processes,
            workers=workers,
            users=users,
            key=restriction.key if (restriction := self.backend.restriction) else None,
        )
        load = Load(
            spec,
            folder,
            self.backend.supervisor,
            self.backend.access_log,
            ledger=self.run.new_file("ledger.parquet"),
            slo=slo,
            deaths=self._gateway_deaths,
            crew=self.backend.load_crew if workers else None,
        )
        with accounted(load, service, self.run):
            yield load

    def write_payload(self, path: Path, model: ModelVersion, *, rows: int = 500, protocol: Protocol = "v1") -> None:
        """Write held-out rows of a model as request bodies, one a line."""
        drawn = self.sample(model, [{"name": "load", "rows": rows}])["load"]["rows"]
        write_bodies(path, drawn, model.features, protocol)

    @contextmanager
    def scaling(self, service: Service, *, revision: str = "") -> Iterator[Scaling]:
        """Watch a service that its autoscaler scales; the report has the reaction times of each load in the block.

        `revision` is the one that serves, or a canary. Errors: CapabilityMissing where nothing scales, or no canary;
        UsageError for a revision whose document asks for no scaling.
        """
        self.require(Capability.AUTOSCALING)
        if revision not in ("", service.revision):
            self.require(Capability.CANARY_SCALING)
        with scaled(self.backend, service, self.run, revision or service.revision) as watched:
            yield watched

    @contextmanager
    def devices(self, count: int, *, resource: str = GPU, deadline: Deadline | None = None) -> Iterator[None]:
        """While the block lasts the node says that it has so many devices, though there is none.

        A replica that asks for one gets one of them; one beyond them waits with the scheduler's reason. Errors:
        CapabilityMissing in a cluster whose nodes are others' to describe; UsageError for a negative count.
        """
        if count < 0:
            raise UsageError(f"devices: expected at least 0 of {resource}, got {count}")
        self.require(Capability.DEVICES)
        with self.backend.devices(resource, count, deadline or Deadline.after(READY_S)):
            yield

    def _gateway_deaths(self) -> list[float]:
        supervised = [death.at for death in list(self.backend.supervisor.deaths) if death.name == GATEWAY]
        return supervised or self._outages.moments(time.time())

    def drift(self, service: Service, model: ModelVersion, windows: Sequence[Window]) -> list[DriftRecord]:
        """Replay windows of held-out rows through a service and compare each with the held-out reference.

        Evidently's full page (4 MB) is kept for one window, the last that has a condition. Errors: CapabilityMissing,
        with how many rows to bring, where the held-out rows cannot give the windows; DataError for a condition.
        """
        reference = self.run.new_file("drift-reference.parquet")
        samples = [{"name": w.name, "rows": w.rows, "where": w.where} for w in windows]
        drawn = self.sample(model, samples, reference=str(reference))
        page = self.run.new_file("drift.html")
        spec = {
            "run_folder": str(self.run.folder),
            "reference": str(reference),
            "windows": windows_spec(windows, drawn, model, service, page),
        }
        answer = self.job("harness.lifecycle.drift:main", spec, name="drift")
        records = [DriftRecord.model_validate(record) for record in answer["drift"]]
        for record in records:
            record.where = drawn[record.window]["where"] or ""
        self.run.record.drift.extend(records)
        return records

    def prediction_log(self, service: Service) -> PredictionLog:
        """Log from now on what a service is asked and answers; read it, and label it, through what is returned.

        A shadow or A/B rollout that compares predictions takes the service's logger for as long as it lasts. Errors:
        CapabilityMissing where no log can be kept.
        """
        self.require(Capability.PREDICTION_LOG)
        log = logged(self, service)
        self._clients.callback(log.close)
        return log

    def watch_drift(
        self,
        service: Service,
        *,
        window_s: float = 3600.0,
        step_s: float = 0.0,
        grace_s: float = 5.0,
        false_alarms_per_day: float = 0.1,
        rows: int | None = None,
        pages: bool = True,
    ) -> DriftWatch:
        """Judge windows of a service's prediction log against its version's reference while it serves.

        Windows of `window_s`, a new one each `step_s` (0: none overlaps), judged `grace_s` after they end; `rows` is a
        usual window's size. Errors: CapabilityMissing where no log can be kept; UsageError for impossible windows;
        DataError if the version has no reference, or one that is too small.
        """
        plan = WindowPlan(window_s, step_s, grace_s)
        log = self.prediction_log(service)
        watch = DriftWatch(self, service, log.place, DriftSettings(plan, false_alarms_per_day, rows, pages))
        self._clients.callback(watch.note)
        return watch

    def closed_loop(
        self,
        service: Service,
        *,
        policy: LoopPolicy | None = None,
        answering: Answering | None = None,
        **windows: Any,
    ) -> ClosedLoop:
        """Answer a service's drift and quality alerts with a version trained anew, while the loop's block lasts.

        `policy` says when and what it must show, `answering` how it is trained, judged and released; `windows` are
        arguments of `watch_drift`. Errors: CapabilityMissing where there are no alerts or no prediction log.
        """
        self.require(Capability.ALERTS)
        watch = self.watch_drift(service, **windows)
        return ClosedLoop(
            self, service, watch, self.prediction_log(service), policy or LoopPolicy(), answering or Answering()
        )

    def gitops(self, model: ModelVersion, *, staging: Servable | None = None, rules: Rules | None = None) -> GitOps:
        """A Git repository of the run that says what staging and production serve, beginning with these versions.

        Nothing is served until a reconciler looks at it. Errors: CapabilityMissing without git.
        """
        made = GitOps(self, model, staging=staging, rules=rules)
        self._clients.callback(made.close)
        return made

    def feature_store(self, sessions: Sessions) -> FeatureStore:
        """A feature store over sessions of music therapy: training sets as of each moment, and features online.

        Errors: CapabilityMissing where none can be had.
        """
        self.require(Capability.FEATURES)
        return FeatureStore(self, sessions)

    def query(self, promql: str) -> dict[str, float]:
        """An instant PromQL query on the platform's Prometheus: label set -> value."""
        self.require(Capability.METRICS)
        return self.backend.query(promql)

    def job(
        self, target: str, spec: Mapping[str, Any], *, name: str, deadline: Deadline | None = None
    ) -> dict[str, Any]:
        """Run "module:function" as a job in a warm process."""
        deadline = deadline or Deadline.after(JOB_S)
        return self.backend.work(target, json.dumps(spec), name=name, deadline=deadline)

    def _note_aliases(self, name: str) -> None:
        """Bring the record's aliases up to the registry's."""
        aliases = self.registry.aliases(name)
        for model in self.run.record.models:
            if model.name == name:
                model.aliases = sorted(alias for alias, version in aliases.items() if version == model.version)
