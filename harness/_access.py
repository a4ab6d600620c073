"""A platform that lets people in by role, as scenarios use it: their clients, and every cell of the matrix tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.backends.restriction import Restriction
from harness.clients.inference import InferenceClient
from harness.clients.mlflow import MLflowClient
from harness.components.gateway import KEY_HEADER
from harness.errors import PushRefused, RequestFailed
from harness.gitops.checks import CODE
from harness.lifecycle.access import MATRIX, ROLES, Cell, allowed, cells
from harness.report.record import AccessCell

if TYPE_CHECKING:
    from harness.gitops import GitOps
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

REFUSED = (401, 403)
EDIT = "EDIT"


@dataclass(frozen=True)
class Tried:
    """What the cells are tried on; `number` makes each try another one."""

    model: ModelVersion
    services: Mapping[str, Service]
    gitops: GitOps
    number: int


class Access:
    """The roles of one platform and their credentials; they are gone with it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.restriction = Restriction.new()
        platform.backend.restrict(self.restriction)
        self._known = False
        self._one: list[Any] | None = None

    def grant(self, model: ModelVersion) -> None:
        """Give the roles what the matrix says they may with a model and its experiment; the guard does the rest."""
        registry = self._platform.registry
        self._introduce(registry)
        experiment = registry.experiment(model.dataset.name)
        for role in ROLES:
            if allowed(role, "log a run", "experiments"):
                registry.grant(role, "experiment", experiment, EDIT)
            if any(allowed(role, right.verb, right.resource) for right in MATRIX if _edits(right.resource, right.verb)):
                registry.grant(role, "registered_model", model.name, EDIT)

    def registry(self, role: str, password: str | None = None) -> MLflowClient:
        """MLflow as a role sees it; close it with `with`."""
        word = self.restriction.passwords[role] if password is None else password
        return MLflowClient(self._platform.backend.tracking_uri, login=(role, word))

    def asking(self, service: Service, client: str, key: str | None = None) -> InferenceClient:
        """A service as a role or an application asks it, by its key; close it with `with`."""
        word = self.restriction.keys[client] if key is None else key
        return InferenceClient(
            self._platform.backend.gateway_url, host=service.host, model=service.name, key=(KEY_HEADER, word)
        )

    def try_all(self, model: ModelVersion, services: Mapping[str, Service], gitops: GitOps) -> list[AccessCell]:
        """Try every cell of the matrix with the role's own credentials; what was found is in the run's record.

        `services`: environment -> one that serves there. Nothing that serves changes by it.
        """
        found = [self._tried(cell, Tried(model, services, gitops, number)) for number, cell in enumerate(cells())]
        self._platform.run.record.access += found
        return found

    def close(self) -> None:
        self.restriction.files.close()

    def _introduce(self, registry: MLflowClient) -> None:
        if not self._known:
            for role in ROLES:
                registry.create_user(role, self.restriction.passwords[role])
            self._known = True

    def _tried(self, cell: Cell, on: Tried) -> AccessCell:
        status, words = 200, ""
        try:
            self._deed(cell, on)
        except PushRefused as error:
            status, words = 403, error.message
        except RequestFailed as error:
            status, words = error.status or 0, error.message
        may = status == 200
        # An answer that is neither a yes nor a refusal proves nothing about the cell.
        as_expected = may if cell.allowed else status in REFUSED
        return AccessCell(
            role=cell.role,
            verb=cell.verb,
            resource=cell.resource,
            expected=cell.allowed,
            status=status,
            passed=as_expected,
            detail="" if as_expected else words[:300],
        )

    def _deed(self, cell: Cell, on: Tried) -> None:
        if cell.verb == "ask":
            with self.asking(on.services[cell.resource.partition(" ")[0]], cell.role) as client:
                client.predict(self._row(on.model))
        elif cell.verb == "commit":
            what = cell.resource.removeprefix("desired state of ")
            on.gitops.as_(cell.role).push(_change(what, on), f"{cell.role} changes {what}")
        else:
            with self.registry(cell.role) as registry:
                _DEEDS[cell.resource, cell.verb](registry, on.model)

    def _row(self, model: ModelVersion) -> list[Any]:
        if self._one is None:
            self._one = self._platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"]
        return self._one


def _change(what: str, on: Tried) -> dict[str, str | bytes | None]:
    """A harmless change of the desired state, another one each time."""
    if what == CODE:
        return {f"training/{on.model.name}.toml": f"trials = {on.number}\n"}
    return {f"environments/{what}/rollout.toml": f'kind = "canary"\nmax_step_s = {60 + on.number}\n'}


def _edits(resource: str, verb: str) -> bool:
    """Whether MLflow takes EDIT of the model for it."""
    return resource.startswith("alias ") or (resource, verb) == ("registered models", "register a version")


def _register(registry: MLflowClient, model: ModelVersion) -> None:
    known = registry.version(model.name, model.version)
    registry.register(model.name, known.source, known.run_id)


def _log(registry: MLflowClient, model: ModelVersion) -> None:
    registry.start_run(registry.experiment(model.dataset.name))


def _delete_run(registry: MLflowClient, model: ModelVersion) -> None:
    registry.delete_run(registry.version(model.name, model.version).run_id)


def _overwrite(registry: MLflowClient, model: ModelVersion) -> None:
    """Put another MLmodel in the place of the one that is served."""
    root = registry.download_uri(model.name, model.version).removeprefix("mlflow-artifacts:/")
    registry.put_artifact(f"{root}/MLmodel", b"flavors: {}\n")


_DEEDS: dict[tuple[str, str], Callable[[MLflowClient, ModelVersion], object]] = {
    ("experiments", "read"): lambda registry, model: registry.experiment(model.dataset.name),
    ("experiments", "log a run"): _log,
    ("experiments", "delete a run"): _delete_run,
    ("registered models", "read"): lambda registry, model: registry.version(model.name, model.version),
    ("registered models", "register a version"): _register,
    ("registered models", "delete a version"): lambda registry, model: registry.delete_version(model.name, 1),
    ("registered models", "change a version's files"): _overwrite,
    ("alias staging", "move"): lambda registry, model: registry.set_alias(model.name, "staging", model.version),
    ("alias champion", "move"): lambda registry, model: registry.set_alias(model.name, "champion", model.version),
    ("users", "create"): lambda registry, _: registry.create_user("somebody", "a-long-enough-password"),
}
