"""A platform that lets people in by role, as scenarios use it: their clients, and every cell of the matrix tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.backends.restriction import Restriction
from harness.clients.inference import InferenceClient
from harness.clients.mlflow import MLflowClient
from harness.components.gateway import KEY_HEADER
from harness.errors import RequestFailed
from harness.lifecycle.access import MATRIX, ROLES, Cell, allowed, cells
from harness.report.record import AccessCell

if TYPE_CHECKING:
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

REFUSED = (401, 403)
EDIT = "EDIT"


class Access:
    """The roles of one platform and their credentials; they are gone with it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.restriction = Restriction.new()
        platform.backend.restrict(self.restriction)
        self._known = False

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

    def try_all(self, model: ModelVersion, services: Mapping[str, Service]) -> list[AccessCell]:
        """Try every cell of the matrix with the role's own credentials; what was found is in the run's record.

        `services`: environment -> one that serves there. Each deed is undone or harmless.
        """
        found = [self._tried(cell, model, services) for cell in cells()]
        self._platform.run.record.access += found
        return found

    def close(self) -> None:
        self.restriction.files.close()

    def _introduce(self, registry: MLflowClient) -> None:
        if not self._known:
            for role in ROLES:
                registry.create_user(role, self.restriction.passwords[role])
            self._known = True

    def _tried(self, cell: Cell, model: ModelVersion, services: Mapping[str, Service]) -> AccessCell:
        status, words = 200, ""
        try:
            self._deed(cell, model, services)
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

    def _deed(self, cell: Cell, model: ModelVersion, services: Mapping[str, Service]) -> None:
        if cell.verb == "ask":
            row = self._platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"]
            with self.asking(services[cell.resource.partition(" ")[0]], cell.role) as client:
                client.predict(row)
            return
        with self.registry(cell.role) as registry:
            _DEEDS[cell.resource, cell.verb](registry, model)


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
