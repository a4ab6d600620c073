"""The reconciler: looks at what is desired and what is live, and does what harness.gitops.plan says.

It keeps nothing that it could not read again: the desired state and what was refused are in the repository, the live
state is the platform's. One that dies in the middle of a step is replaced by another one, which converges.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.backends.inference_service import InferenceService
from harness.errors import RehearsalError
from harness.gitops import overlays
from harness.gitops.gitops import PRODUCTION, STAGING, GitOps
from harness.gitops.plan import Abandon, Create, Heal, Release, Remove, Step, plan
from harness.gitops.repository import Commit
from harness.lifecycle.rollout import Outcome
from harness.report.record import SyncRecord
from harness.service import Service

if TYPE_CHECKING:
    from harness.lifecycle.driver import OnState

PASSES = 5
"""A release may leave a size to be healed, and that is all: more passes than these do not converge."""
EVERY_S = 1.0
ALIASES = {STAGING: "staging", PRODUCTION: "champion"}


class Reconciler:
    """Makes the platform what the repository says; `on_state` sees each state of the releases that it makes."""

    def __init__(self, gitops: GitOps, *, on_state: OnState | None = None) -> None:
        self._gitops = gitops
        self._platform = gitops.platform
        self._repository = gitops.repository
        self._on_state = on_state

    def sync(self) -> list[SyncRecord]:
        """Make the newest commit so; what was done, in order. A release that fails is told as the commit's status."""
        done: list[SyncRecord] = []
        for _ in range(PASSES):
            steps = [(name, step) for name in self._environments() for step in self._plan(name)]
            acted = [self._perform(name, step) for name, step in steps]
            done += acted
            if all(record.action == "hold" for record in acted):
                break
        self._gitops.syncs += done
        return done

    @contextmanager
    def running(self, every_s: float = EVERY_S) -> Iterator[None]:
        """Sync again and again while the block lasts, in a thread.

        A sync that fails is told once and tried again; what the last one failed with is raised at the end.
        """
        over = threading.Event()
        failed: RehearsalError | None = None

        def loop() -> None:
            nonlocal failed
            while not over.wait(every_s):
                before, failed = failed, self._tried()
                if failed is not None and (before is None or before.message != failed.message):
                    self._platform.run.events.emit("gitops.failed", "reconciler", failed.message, level="warning")

        thread = threading.Thread(target=loop, name="reconciler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed is not None:
            raise failed

    def _tried(self) -> RehearsalError | None:
        """What a sync failed with: a registry that is away for a moment must not end the reconciler."""
        try:
            self.sync()
        except RehearsalError as error:
            return error
        return None

    def _environments(self) -> list[str]:
        return overlays.environments(self._repository.files(self._repository.head()))

    def _plan(self, environment: str) -> list[Step]:
        namespace = self._platform.backend.namespace(environment)
        desired = overlays.render(self._repository.files(self._repository.head()), environment)
        live = [each for each in self._platform.backend.documents() if each.namespace == namespace]
        return plan([each.in_namespace(namespace) for each in desired], live)

    def _perform(self, environment: str, step: Step) -> SyncRecord:
        commit = self._repository.last_change(environment)
        document = step.live if isinstance(step, Remove) else step.document
        began = time.time()
        action, reason = self._done(environment, step, commit)
        record = SyncRecord(
            at=began,
            took_s=time.time() - began,
            commit=commit.sha,
            environment=environment,
            service=document.name,
            action=action,
            reason=reason,
        )
        where = f"{environment}/{document.name}"
        self._platform.run.events.emit(f"gitops.{action}", where, f"{commit.sha[:8]}: {reason}")
        return record

    def _done(self, environment: str, step: Step, commit: Commit) -> tuple[str, str]:
        match step:
            case Create(document):
                return "create", self._deployed(environment, document, commit, lambda: self._create(environment, step))
            case Abandon(live):
                names = ", ".join(entry.predictor.name for entry in live.spec.canary)
                self._service(environment, live).apply(_without_canaries(live))
                return "abandon", f"the release of {names} was left half-way: {live.spec.predictor.name} serves"
            case Release(live, document):
                context = deployment_of(environment)
                known = self._repository.statuses.of(commit.sha).get(context)
                if known is not None and known.state == "failure":
                    return "hold", f"{document.spec.predictor.name} was refused: {known.description}"
                return "release", self._deployed(
                    environment, document, commit, lambda: self._release(environment, live, document)
                )
            case Heal(document, differences):
                self._service(environment, document).apply(document)
                return "heal", "; ".join(differences)
            case Remove(live):
                self._service(environment, live).delete()
                del self._gitops.services[environment, live.name]
                return "remove", "it is desired no more"

    def _deployed(self, environment: str, document: InferenceService, commit: Commit, deploy: Callable[[], str]) -> str:
        """Deploy, and say how it went as the commit's status; the alias follows what serves."""
        context, statuses = deployment_of(environment), self._repository.statuses
        statuses.add(commit.named(), context, "pending", f"{document.spec.predictor.name} is being deployed")
        try:
            refused = deploy()
        except RehearsalError as error:
            statuses.add(commit.named(), context, "failure", error.message)
            raise
        version = overlays.pinned(document)
        if refused:
            words = f"{refused}; take the commit back with: git revert {commit.sha[:8]}"
            statuses.add(commit.named(), context, "failure", words)
            return words
        words = f"{version.name} v{version.version} serves"
        statuses.add(commit.named(), context, "success", words)
        if alias := ALIASES.get(environment):
            self._platform.promote(version, alias)
        return words

    def _create(self, environment: str, step: Create) -> str:
        self._gitops.services[environment, step.document.name] = self._platform.apply(step.document)
        return ""

    def _release(self, environment: str, live: InferenceService, document: InferenceService) -> str:
        """Why the version was refused; "" if it serves."""
        service, version = self._service(environment, live), overlays.pinned(document)
        policy = overlays.rollout(self._repository.files(self._repository.head()), environment)
        if policy is None:
            _switch(service, document.spec.predictor.name, version.uri)
            return ""
        rollout = service.roll_out(version, policy, on_state=self._on_state)
        return "" if rollout.outcome is Outcome.PROMOTED else f"{rollout.outcome}: {rollout.reason}"

    def _service(self, environment: str, live: InferenceService) -> Service:
        """The service's handle; a reconciler that begins anew takes up what is there."""
        key = environment, live.name
        if key not in self._gitops.services:
            self._gitops.services[key] = self._platform.apply(live)
        service = self._gitops.services[key]
        service.document = next(
            each
            for each in self._platform.backend.documents()
            if (each.namespace, each.name) == (service.namespace, service.name)
        )
        return service


def _switch(service: Service, revision: str, uri: str) -> None:
    """Another version without a verdict, and without a lost request: ready first, then all traffic, then alone."""
    service.apply(service.document.with_canary(revision, uri, 0))
    service.apply(service.document.with_traffic(revision, 100))
    service.apply(service.document.promoted(revision))


def _without_canaries(document: InferenceService) -> InferenceService:
    for entry in document.spec.canary:
        document = document.without_canary(entry.predictor.name)
    return document


def deployment_of(environment: str) -> str:
    """What the status of a commit's deployment is called."""
    return f"deploy/{environment}"
