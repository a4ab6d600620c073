"""MLflow's tracking and registry over its REST API (2.0), without importing mlflow, which takes most of a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from harness.clients import http

_API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Version:
    """One registered model version."""

    name: str
    version: int
    run_id: str
    status: str
    source: str
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One tracking run; times in Unix seconds, `ended_at` None while it goes on."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    started_at: float
    ended_at: float | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifact_uri: str


class MLflowClient:
    """Closes with `with`. Raises RequestFailed: `status` 404 for a name, version, alias or run that is not there."""

    def __init__(
        self,
        tracking_uri: str,
        *,
        timeout_s: float = 10.0,
        login: tuple[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self._http = http_client or http.client(tracking_uri, timeout_s=timeout_s, auth=login)

    def __enter__(self) -> MLflowClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def run(self, run_id: str) -> Run:
        """One run with its latest metrics and its parameters."""
        return _run(self._get("runs/get", run_id=run_id)["run"])

    def version(self, name: str, version: int) -> Version:
        return _version(self._get("model-versions/get", name=name, version=str(version))["model_version"])

    def aliases(self, name: str) -> dict[str, int]:
        """alias -> version."""
        model = self._get("registered-models/get", name=name)["registered_model"]
        return {each["alias"]: int(each["version"]) for each in model.get("aliases", [])}

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Move an alias to a version, in one step for every reader."""
        self._post("registered-models/alias", name=name, alias=alias, version=str(version))

    def experiment(self, name: str) -> str:
        """The id of an experiment."""
        found: str = self._get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]
        return found

    def start_run(self, experiment_id: str) -> str:
        """Begin a run; its id."""
        started: str = self._post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
        return started

    def register(self, name: str, source: str, run_id: str) -> int:
        """Register a logged model ("models:/m-…") as a new version of a registered one; its number."""
        logged = source.removeprefix("models:/")
        made = self._post("model-versions/create", name=name, source=source, run_id=run_id, model_id=logged)
        return int(made["model_version"]["version"])

    def download_uri(self, name: str, version: int) -> str:
        """Where a version's files lie: "mlflow-artifacts:/…"."""
        found = str(self._get("model-versions/get-download-uri", name=name, version=str(version))["artifact_uri"])
        if not found.startswith("models:/"):
            return found
        return str(self._get(f"logged-models/{found.removeprefix('models:/')}")["model"]["info"]["artifact_uri"])

    def put_artifact(self, path: str, content: bytes) -> None:
        """Write a file below the artifacts' root."""
        http.request(self._http, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=content)

    def delete_run(self, run_id: str) -> None:
        self._post("runs/delete", run_id=run_id)

    def delete_version(self, name: str, version: int) -> None:
        self._call("DELETE", "model-versions/delete", json={"name": name, "version": str(version)})

    def create_user(self, name: str, password: str) -> None:
        """Where MLflow asks for passwords."""
        self._post("users/create", username=name, password=password)

    def grant(self, user: str, kind: str, name: str, permission: str) -> None:
        """Give a user READ, EDIT or MANAGE of an "experiment" (by id) or a "registered_model" (by name)."""
        body = {"username": user, "resource_type": kind, "resource_id": name, "permission": permission}
        http.request(self._http, "POST", "/api/3.0/mlflow/users/permissions/grant", json=body)

    def set_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        self._post("model-versions/set-tag", name=name, version=str(version), key=key, value=value)

    def describe_version(self, name: str, version: int, description: str) -> None:
        """Replace a version's description, which MLflow shows as Markdown."""
        told = {"name": name, "version": str(version), "description": description}
        self._call("PATCH", "model-versions/update", json=told)

    def _get(self, path: str, /, **params: Any) -> dict[str, Any]:
        return self._call("GET", path, params=params)

    def _post(self, path: str, /, **body: Any) -> dict[str, Any]:
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **kw: Any) -> dict[str, Any]:
        hint = "MLflow's log in the run folder may say more."
        answer: dict[str, Any] = http.request(self._http, method, f"{_API}/{path}", hint=hint, **kw).json()
        return answer


def _version(found: dict[str, Any]) -> Version:
    return Version(
        name=found["name"],
        version=int(found["version"]),
        run_id=found.get("run_id", ""),
        status=found.get("status", ""),
        source=found.get("source", ""),
        aliases=tuple(found.get("aliases", ())),
        tags=_pairs(found.get("tags", [])),
    )


def _run(found: dict[str, Any]) -> Run:
    info, data = found["info"], found.get("data", {})
    ended = info.get("end_time")
    return Run(
        run_id=info["run_id"],
        experiment_id=info["experiment_id"],
        name=info.get("run_name", ""),
        status=info["status"],
        started_at=int(info["start_time"]) / 1000,
        ended_at=int(ended) / 1000 if ended else None,
        params=_pairs(data.get("params", [])),
        metrics={each["key"]: float(each["value"]) for each in data.get("metrics", [])},
        tags=_pairs(data.get("tags", [])),
        artifact_uri=info.get("artifact_uri", ""),
    )


def _pairs(found: list[dict[str, str]]) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in found}
