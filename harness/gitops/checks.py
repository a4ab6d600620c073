"""What is wrong with a pushed commit: documents, versions, sizes, and who may change what. Pure.

A commit that is refused changes nothing: the repository does not take it, and its status says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.backends.inference_service import InferenceService
from harness.errors import UsageError
from harness.gitops import overlays, training
from harness.gitops.overlays import Files, Pinned
from harness.lifecycle.access import ROLES, STAGES, allowed

CODE = "training and data"
MAY_CHANGE: Mapping[str, frozenset[str]] = {
    role: frozenset(what for what in (CODE, *STAGES) if allowed(role, "commit", f"desired state of {what}"))
    for role in ROLES
}
"""Identity -> what its commits may change: the code and data of a training, and what an environment runs."""
CODE_FOLDERS = ("training/", "data/")

KnowsVersion = Callable[[Pinned], str]
"""Why a version cannot be served: it is not in the registry, or not ready; "" if it can."""


@dataclass(frozen=True)
class Change:
    """One commit that somebody pushes: all files before and after it."""

    author: str
    pusher: str
    before: Files
    after: Files


@dataclass(frozen=True)
class Rules:
    """What an environment may have: replicas of all its services together; and who may change what."""

    most_replicas: Mapping[str, int] = field(default_factory=lambda: {"staging": 2, "production": 6})
    may_change: Mapping[str, frozenset[str]] = field(default_factory=lambda: MAY_CHANGE)


def problems(change: Change, rules: Rules, version: KnowsVersion) -> list[str]:
    """One line for each thing that is wrong; empty if the commit may be taken."""
    found: list[str] = []
    after: dict[str, list[InferenceService]] = {}
    for environment in overlays.environments(change.after):
        try:
            after[environment] = overlays.render(change.after, environment)
            overlays.rollout(change.after, environment)
        except UsageError as error:
            found.append(str(error))
    found += _gone(change)
    found += _trainings(change)
    for environment, documents in after.items():
        found += _versions(documents, version)
        found += _size(environment, documents, rules)
    return [*_rights(change, rules), *found]


def touched(change: Change) -> list[str]:
    """What a commit changes, in the words of MAY_CHANGE; an environment by what it would run, whichever file did it."""
    paths = {path for path in {*change.before, *change.after} if change.before.get(path) != change.after.get(path)}
    environments = {*overlays.environments(change.before), *overlays.environments(change.after)}
    found = {each for each in environments if _state(change.before, each) != _state(change.after, each)}
    found |= {CODE for path in paths if path.startswith(CODE_FOLDERS)}
    return sorted(found)


def _rights(change: Change, rules: Rules) -> Iterator[str]:
    if change.author != change.pusher:
        yield f"author: expected {change.pusher}, who pushes it, got {change.author}"
    allowed = rules.may_change.get(change.pusher, frozenset())
    changes = touched(change)
    if not allowed and not changes:
        yield f"{change.pusher} may push nothing"
    for what in changes:
        if what not in allowed:
            may = ", ".join(sorted(name for name, rights in rules.may_change.items() if what in rights)) or "nobody"
            yield f"{change.pusher} may not change {what}; allowed: {may}"


def _gone(change: Change) -> Iterator[str]:
    """An environment is not dropped by deleting a folder."""
    for environment in overlays.environments(change.before):
        if environment not in overlays.environments(change.after):
            yield f"{overlays.ENVIRONMENTS}/{environment}: is gone; an environment is emptied service by service"


def _trainings(change: Change) -> Iterator[str]:
    """What the pipeline would refuse is refused before it is asked."""
    for path, text in change.after.items():
        folder, _, name = path.partition("/")
        if folder == training.FOLDER and name.endswith(".toml") and change.before.get(path) != text:
            try:
                training.training_of(change.after, name.removesuffix(".toml"))
            except UsageError as error:
                yield error.message


def _versions(documents: list[InferenceService], version: KnowsVersion) -> Iterator[str]:
    for document in documents:
        where = f"{document.namespace}/{document.name}"
        try:
            pinned = overlays.pinned(document)
        except UsageError as error:
            yield error.message
            continue
        if document.spec.predictor.name != f"v{pinned.version}":
            got = document.spec.predictor.name
            yield f"{where}: spec.predictor.name: expected v{pinned.version}, as its version, got {got!r}"
        if document.spec.canary:
            yield f"{where}: spec.canary: a release is made by the reconciler, from rollout.toml"
        if why := version(pinned):
            yield f"{where}: {why}"


def _size(environment: str, documents: list[InferenceService], rules: Rules) -> Iterator[str]:
    most = rules.most_replicas.get(environment)
    asked = sum(document.spec.predictor.min_replicas for document in documents)
    if most is not None and asked > most:
        yield f"{environment}: minReplicas: {asked} of all services together, the quota is {most}"


def _state(files: Files, environment: str) -> object:
    """What an environment runs and how it releases; what cannot be rendered counts as its own text."""
    try:
        documents = [document.to_dict() for document in overlays.render(files, environment)]
        return documents, overlays.rollout(files, environment)
    except UsageError:
        folder = f"{overlays.ENVIRONMENTS}/{environment}/"
        return {path: text for path, text in files.items() if path.startswith((folder, f"{overlays.BASE}/"))}
