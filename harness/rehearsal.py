"""The main job: the whole life of a model release, on real programs and real data, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from harness._reproduce import of_settings
from harness._traffic import Window
from harness._world_options import world_options
from harness.backends.backend import Capability, Part
from harness.backends.session import open_backend
from harness.errors import LoadFailed, RehearsalError, StepFailed, UsageError
from harness.lifecycle.rollout import ABTest, Outcome
from harness.lifecycle.spec import TrainingSpec
from harness.load.ledger import Ledger
from harness.model_version import ModelVersion
from harness.monitoring import counted_requests, disagreement, logged_requests
from harness.plan import Plan, Training
from harness.platform import PRODUCTION, STAGING, Platform
from harness.report.record import ChecksRecord, ComponentRecord, DriftRecord, GateRecord, RunRecord, Step
from harness.run import Run
from harness.runtime.events import Listener
from harness.service import Rollout, Service

if TYPE_CHECKING:
    from harness.config import Settings

CHAMPION = "champion"
USERS = 1000  # of a load whose users are to meet the same revision each time


def rehearse(settings: Settings, *, run_folder: Path, listener: Listener | None = None) -> RunRecord:
    """Rehearse a release as `settings` say; writes the run folder and returns its record.

    A mistake in the user's input is raised (UsageError) once the record is written; every other error is the record's
    outcome.
    """
    plan, world = Plan.of(settings), world_options(settings)
    run = Run(run_folder, title=plan.title, backend=settings.run.backend, listener=listener)
    try:
        with (
            run,
            open_backend(world, run_folder, run.events) as backend,
            Platform(backend, run, seed=plan.seed, runner=plan.runner) as platform,
        ):
            run.remade = of_settings(settings)
            Rehearsal(platform, plan).play()
    except UsageError:
        raise
    except (RehearsalError, KeyboardInterrupt):
        pass  # the record tells it
    return run.record


class Rehearsal:
    """The steps of one rehearsal, in order; each leaves what the next one needs."""

    def __init__(self, platform: Platform, plan: Plan) -> None:
        self.platform = platform
        self.plan = plan
        self.run = platform.run

    def play(self) -> None:
        """Run every step; the first that fails ends the rehearsal."""
        self.run.record.dataset = {
            "name": self.plan.dataset.name,
            "source": self.plan.dataset.source,
            "target": self.plan.dataset.target,
            "task": self.plan.dataset.task,
            "threshold": self.plan.dataset.threshold,
        }
        self.start()
        baseline = self.train(self.plan.baseline)
        candidate = self.train(self.plan.candidate)
        self.gate(baseline, candidate)
        service = self.stage(baseline, candidate)
        rollout = self.release(service, candidate)
        self.drift(service, candidate if rollout.outcome is Outcome.PROMOTED else baseline)
        self.metrics(service)
        self.cards(baseline, candidate)
        self.conclude(rollout)

    def start(self) -> None:
        with self.run.step("platform", "Start MLflow, Envoy and the nurseries") as step:
            self.platform.start(Part.TRACKING, Part.SERVING, Part.DRIFT, *self.platform.available(Part.METRICS))
            step.detail = _ready_words(self.platform.backend.components())

    def train(self, training: Training) -> ModelVersion:
        with self.run.step(training.name, f"Train and register the {training.name}") as step:
            model = self.platform.run_pipeline(self._spec(training))
            run = model.result.run
            cached = sum(task.cached for task in run.tasks)
            metrics = ", ".join(f"{name} {value:.3g}" for name, value in list(model.metrics.items())[:3])
            step.detail = f"v{model.version}: {metrics}; {cached} of {len(run.tasks)} pipeline steps from the cache"
            return model

    def gate(self, baseline: ModelVersion, candidate: ModelVersion) -> None:
        with self.run.step("gate", "Hold both versions against the promotion gate") as step:
            with ThreadPoolExecutor(1) as pool:
                checking = pool.submit(self._check_model, candidate)
                self.platform.promote(baseline, CHAMPION, gate=self.platform.judge(baseline, policy=self.plan.gate))
                checks = checking.result()
            judged = self.platform.judge(candidate, baseline, policy=self.plan.gate, checks=checks)
            if not judged.passed:
                self.cards(candidate)
            self.platform.promote(candidate, STAGING, gate=judged)
            step.detail = _gate_words(judged)

    def stage(self, baseline: ModelVersion, candidate: ModelVersion) -> Service:
        """Serve the candidate in staging and compare its answers; serve the champion in production meanwhile."""
        with self.run.step("staging", "Serve the candidate in staging, compare its answers") as step:
            with ThreadPoolExecutor(1) as pool:
                production = pool.submit(self.platform.deploy, baseline, namespace=PRODUCTION)
                staging = self.platform.deploy(candidate, namespace=STAGING)
                smoke = self.platform.smoke(staging, candidate)
                checks = self._check_served(staging, candidate)
                service = production.result()
            step.detail = (
                f"{smoke.rows} held-out rows over {' and '.join(smoke.protocols)}: {smoke.mismatches} mismatches, "
                f"largest difference {smoke.largest_difference:.1e}{checks}"
            )
            if smoke.mismatches:
                raise StepFailed(f"staging: {smoke.mismatches} served answers differ from the offline model's.")
            return service

    def _check_model(self, candidate: ModelVersion) -> ChecksRecord | None:
        """Make the checks that ask the model alone; None if there are none."""
        offline = [check for check in self.plan.checks if not check.served]
        return self.platform.check(candidate, offline) if offline else None

    def _check_served(self, staging: Service, candidate: ModelVersion) -> str:
        """Make the checks that ask a service; how they went, for the step. StepFailed if one failed."""
        served = [check for check in self.plan.checks if check.served]
        if not served:
            return ""
        found = self.platform.check(candidate, served, service=staging)
        if found.failed:
            self.cards(candidate)
            raise StepFailed(f"staging: {found.refusal}.")
        return f"; checks: {found.summary}"

    def release(self, service: Service, candidate: ModelVersion) -> Rollout:
        policy = self.plan.policy
        with self.run.step(policy.kind, f"Release to production: {policy.words}, {self.plan.rps:g} requests/s") as step:
            users = USERS if isinstance(policy, ABTest) else 0
            with self.platform.load(service, rps=self.plan.rps, users=users) as traffic:
                rollout = service.roll_out(candidate, policy)
            if rollout.outcome not in (Outcome.PROMOTED, Outcome.CLEARED):
                raise StepFailed(f"{policy.kind} {rollout.outcome}: {rollout.reason}")
            self._account_for_every_request(traffic.ledger, step)
            if rollout.outcome is Outcome.PROMOTED:
                self.platform.promote(candidate, CHAMPION)
            step.detail = f"{rollout.outcome} after {rollout.record.duration_s:.1f} s; {step.detail}"
            return rollout

    def drift(self, service: Service, serving: ModelVersion) -> None:
        title = "Replay a control and a shifted window, compare with the reference"
        with self.run.step("drift", title, optional=True) as step:
            windows = [
                Window("control", expected=False),
                Window("shifted", where=self.plan.shifted, expected=True),
            ]
            records = self.platform.drift(service, serving, windows)
            step.detail = "; ".join(_drift_words(record) for record in records)
            if wrong := [record.window for record in records if record.drifted != record.expected]:
                raise StepFailed(f"drift: wrong verdict on the window {', '.join(wrong)}: {step.detail}.")

    def metrics(self, service: Service) -> None:
        """Check that Prometheus counted what the clients sent, and nothing that the gateway does not know."""
        with self.run.step("metrics", "Compare Prometheus's counts with the clients'", optional=True) as step:
            self.platform.require(Capability.METRICS)
            sent = sum(load.sent + load.mirrored for load in self.run.record.loads)
            backend, where = self.platform.backend, (service.namespace, service.name)
            counted = counted_requests(backend, *where, at_least=sent)
            logged = logged_requests(backend, service.host, at_least=counted)
            step.detail = (
                f"Prometheus counted {counted} requests to {service.host}; "
                f"the load sent {_with_copies(self.run.record)}, the gateway logged {logged}"
            )
            if wrong := disagreement(sent, counted, logged):
                raise StepFailed(f"metrics: {step.detail}: {wrong}.")

    def cards(self, *models: ModelVersion) -> None:
        """Each version's card, with what is known of it by now; one that is refused has one, too."""
        for model in models:
            self.platform.card(model, self.plan.card)

    def conclude(self, rollout: Rollout) -> None:
        self.run.record.decided_by = f"{rollout.record.canary} was {rollout.outcome}: {rollout.reason}"

    def _spec(self, training: Training) -> TrainingSpec:
        plan = self.plan
        return self.platform.training_spec(
            plan.dataset,
            name=training.name,
            estimator=training.estimator,
            params=training.params,
            trials=training.trials,
            features=plan.features,
            deadline_s=plan.deadline_s,
            source_root=plan.source_root,
        )

    def _account_for_every_request(self, ledger: Ledger, step: Step) -> None:
        if ledger.lost:
            raise LoadFailed(
                f"{self.plan.policy.kind}: {ledger.lost} of {ledger.sent} requests were not answered by a revision: "
                f"{ledger.classes}.",
                hint=f"the ledger has a line for each request: {ledger.path}",
            )
        step.detail = f"{ledger.sent} requests, 0 lost, 0 unexplained"


def _ready_words(components: Sequence[ComponentRecord]) -> str:
    """What was started, with its time, and what was there already, with its version."""
    started = ", ".join(f"{each.name} {each.ready_s:.2f} s" for each in components if each.ready_s is not None)
    found = ", ".join(f"{each.name} {each.version}" for each in components if each.ready_s is None)
    return "; ".join(f"{word}: {names}" for word, names in (("ready", started), ("found", found)) if names)


def _gate_words(record: GateRecord) -> str:
    return f"v{record.candidate} against v{record.champion}: {record.summary}"


def _with_copies(record: RunRecord) -> str:
    sent, copies = (sum(getattr(load, name) for load in record.loads) for name in ("sent", "mirrored"))
    return f"{sent} and {copies} copies" if copies else str(sent)


def _drift_words(record: DriftRecord) -> str:
    drifted = [column.column for column in record.columns if column.drifted]
    verdict = f"drift in {', '.join(drifted[:3])}" if record.drifted else "no drift"
    where = f" where {record.where}" if record.where else ""
    return f"{record.window} ({record.rows} rows{where}): {verdict}"
