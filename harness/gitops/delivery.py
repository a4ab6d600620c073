"""From a push to code or data to production: pipeline, gate, staging, production; each a status of the pushed commit.

    training/<service>.toml     estimator = "gradient-boosting" or "training.model:train", trials, [params], [data]
    training/*.py, data/*       what it names

A commit that was delivered is marked by a ref of the repository, so that a delivery that died is done again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RehearsalError, StepFailed
from harness.gitops.checks import CODE_FOLDERS
from harness.gitops.git import git
from harness.gitops.gitops import PRODUCTION, STAGING, GitOps
from harness.gitops.overlays import Pinned, pinned, render
from harness.gitops.reconciler import Reconciler, deployment_of
from harness.gitops.repository import Commit
from harness.gitops.training import training_of

if TYPE_CHECKING:
    from harness.lifecycle.dataset import Dataset
    from harness.model_version import ModelVersion

DELIVERED = "refs/rehearsal/delivered"


class Delivery:
    """Delivers what was pushed to training/ and data/ and was not delivered yet."""

    def __init__(self, gitops: GitOps, reconciler: Reconciler) -> None:
        self._gitops, self._reconciler = gitops, reconciler
        self._platform, self._repository = gitops.platform, gitops.repository

    def deliver(self) -> list[Commit]:
        """Deliver the newest undelivered push, if there is one; its commits, the oldest first. The reconciler is run.

        What goes wrong is the status of the newest of them, and is not tried again before the next push.
        """
        pushed = self._pushed()
        if pushed:
            newest = pushed[-1]
            try:
                self._carry(newest)
            except RehearsalError as error:
                self._say(newest, self._stage, "failure", str(error))
            git(self._repository.folder, "update-ref", DELIVERED, newest.sha)
        return pushed

    def _pushed(self) -> list[Commit]:
        done = self._repository.resolved(DELIVERED)
        span = f"{done}..main" if done else "main"
        return self._repository.log(span, "--", *CODE_FOLDERS)[::-1]

    def _carry(self, commit: Commit) -> None:
        candidate = self._trained(commit)
        self._judged(commit, candidate)
        for environment in (STAGING, PRODUCTION):
            self._deployed(commit, candidate, environment)

    def _trained(self, commit: Commit) -> ModelVersion:
        self._say(commit, "pipeline", "pending", "the training pipeline runs")
        folder = self._repository.export(commit.sha, self._platform.run.folder / "gitops" / "sources" / commit.sha[:8])
        wanted = training_of(self._repository.files(commit.sha), self._gitops.service)
        spec = self._platform.training_spec(
            self._dataset(wanted, folder),
            name=f"pushed-{commit.sha[:8]}",
            estimator=wanted.get("estimator", "gradient-boosting"),
            params=wanted.get("params", {}),
            trials=wanted.get("trials", 0),
            source_root=str(folder),
        )
        model = self._platform.run_pipeline(spec)
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in list(model.metrics.items())[:2])
        self._say(commit, "pipeline", "success", f"{model.name} v{model.version}: {metrics}")
        return model

    def _dataset(self, wanted: dict[str, Any], folder: Path) -> Dataset:
        data = dict(wanted.get("data", {}))
        if not data:
            return self._gitops.model.dataset
        source = folder / data.pop("file")
        return replace(self._gitops.model.dataset, source=str(source), columns={}, ranges={}, **_lists_as_tuples(data))

    def _judged(self, commit: Commit, candidate: ModelVersion) -> None:
        self._say(commit, "gate", "pending", "held against the version in production")
        gate = self._platform.judge(candidate, self._serving(PRODUCTION))
        if not gate.passed:
            raise StepFailed(f"v{candidate.version}: {gate.refusal}")
        self._say(commit, "gate", "success", f"v{candidate.version}: {gate.summary}")

    def _deployed(self, commit: Commit, candidate: ModelVersion, environment: str) -> None:
        self._say(commit, deployment_of(environment), "pending", "the release identity commits it")
        why = f"Trained from {commit.sha[:8]} ({commit.subject}), by {commit.author}."
        promotion = self._gitops.promote(candidate, environment, why=why)
        self._reconciler.sync()
        state, words = self._gitops.statuses(promotion).get(
            deployment_of(environment), ("failure", "it was not deployed")
        )
        if state != "success":
            raise StepFailed(f"v{candidate.version} in {environment}: {words}")
        if environment == STAGING:
            words += f"; {self._smoked(candidate)}"
        self._say(commit, deployment_of(environment), "success", f"{words} (commit {promotion.sha[:8]})")

    def _smoked(self, candidate: ModelVersion) -> str:
        service = self._gitops.services[STAGING, self._gitops.service]
        smoke = self._platform.smoke(service, candidate)
        if smoke.mismatches:
            raise StepFailed(f"staging: {smoke.mismatches} served answers differ from the offline model's")
        return f"{smoke.rows} rows answered as offline"

    def _serving(self, environment: str) -> Pinned | None:
        documents = render(self._repository.files(self._repository.head()), environment)
        return next((pinned(each) for each in documents if each.name == self._gitops.service), None)

    def _say(self, commit: Commit, context: str, state: str, words: str) -> None:
        self._stage = context
        self._repository.statuses.add(commit.named(), context, state, words)
        self._platform.run.events.emit(f"gitops.{context.partition('/')[0]}", self._gitops.service, f"{state}: {words}")


def _lists_as_tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
