"""GitOps on a platform: the repository of a run, its identities and their secrets, and what is read out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.gitops import overlays
from harness.gitops.checks import Rules
from harness.gitops.overlays import Pinned
from harness.gitops.repository import Checkout, Commit, Repository
from harness.lifecycle.access import ROLES
from harness.report.record import CommitRecord, GitOpsRecord, SyncRecord
from harness.runtime.secret_files import SecretFiles

if TYPE_CHECKING:
    from harness.model_version import ModelVersion, Servable
    from harness.platform import Platform
    from harness.service import Service

FOLDER, REPOSITORY, CHECKOUTS = "gitops", "desired.git", "checkouts"
STAGING, PRODUCTION = "staging", "production"
REPLICAS = {STAGING: 1, PRODUCTION: 1}
ROLLOUT = """\
kind = "canary"
steps = [50, 100]

[slo]
slower_than_ms = 100
"""
"""How production releases a version until a commit says otherwise."""


class GitOps:
    """The desired state of one service in staging and production; `as_` an identity pushes to it.

    `model` is the version that production began with, `services` are those that a reconciler made, by environment and
    name.
    """

    def __init__(
        self, platform: Platform, model: ModelVersion, *, staging: Servable | None = None, rules: Rules | None = None
    ) -> None:
        self.platform, self.service, self.model = platform, model.name, model
        self._folder = platform.run.folder / FOLDER
        self._secrets = SecretFiles()
        self._tokens = {name: self._secrets.new(name)[0] for name in ROLES}
        self._checkouts: dict[str, Checkout] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.syncs: list[SyncRecord] = []
        self.repository = Repository.create(
            self._folder / REPOSITORY,
            self._tokens,
            tracking_uri=platform.backend.tracking_uri,
            rules=rules or Rules(),
            login=restriction.login_file if (restriction := platform.backend.restriction) else None,
        )
        self.first = self._begin(model, staging or model)

    def as_(self, identity: str) -> Checkout:
        """The checkout of an identity: "data-scientist", "ml-engineer", "release" or "viewer"."""
        if identity not in self._checkouts:
            folder = self._folder / CHECKOUTS / identity
            folder.parent.mkdir(exist_ok=True)
            self._checkouts[identity] = self.repository.checkout(folder, identity, self._tokens[identity])
        return self._checkouts[identity]

    def promote(self, version: Servable, environment: str, *, by: str = "release", why: str = "") -> Commit:
        """Commit that an environment shall serve a version. PushRefused if it may not."""
        pinned = Pinned(version.name, version.version)
        files = self.repository.files(self.repository.head())
        changed = overlays.with_version(files, environment, self.service, pinned)
        message = f"{environment}: {self.service} v{version.version}" + (f"\n\n{why}" if why else "")
        return self.as_(by).push(dict(changed), message)

    def statuses(self, commit: Commit | str) -> dict[str, tuple[str, str]]:
        """Context -> (state, description) of a commit, refused ones included."""
        sha = commit if isinstance(commit, str) else commit.sha
        return {name: (each.state, each.description) for name, each in self.repository.statuses.of(sha).items()}

    def record(self) -> GitOpsRecord:
        return GitOpsRecord(
            repository=f"{FOLDER}/{REPOSITORY}", commits=commits(self.repository), syncs=list(self.syncs)
        )

    def close(self) -> None:
        """Put what happened into the run's record; the secrets are gone after it."""
        self.platform.run.record.gitops = self.record()
        self._secrets.close()

    def _begin(self, model: ModelVersion, staging: Servable) -> Commit:
        versions = {STAGING: staging, PRODUCTION: model}
        pinned = {name: Pinned(each.name, each.version) for name, each in versions.items()}
        files: dict[str, str | bytes | None] = dict(overlays.first_files(self.service, pinned, REPLICAS))
        files[f"{overlays.ENVIRONMENTS}/{PRODUCTION}/{overlays.ROLLOUT}"] = ROLLOUT
        return self.as_("release").push(files, f"Desired state of {self.service}")


def commits(repository: Repository) -> list[CommitRecord]:
    """Every commit of the branch with its statuses, and those that were refused; the oldest first."""
    said = repository.statuses.commits()
    taken = [
        CommitRecord(
            sha=each.sha, subject=each.subject, author=each.author, at=each.at,
            statuses=said.pop(each.sha).statuses if each.sha in said else [],
        )
        for each in repository.log()
    ]  # fmt: skip
    return sorted([*taken, *said.values()], key=lambda record: (_first_word(record), record.at))


def repository_of(run_folder: Path) -> Repository:
    """The repository of a run."""
    return Repository(run_folder / FOLDER / REPOSITORY)


def _first_word(record: CommitRecord) -> float:
    """Commits have whole seconds, what is said of them has more."""
    return min((status.at for status in record.statuses), default=record.at)
