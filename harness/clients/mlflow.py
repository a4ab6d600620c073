"""MLflow's tracking and registry over its REST API (2.0), without importing mlflow, which takes most of a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from harness.clients import http
from harness.errors import RequestFailed

_API = "/api/2.0/mlflow"
_PAGE = 200


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

    def __init__(self, tracking_uri: str, *, timeout_s: float = 10.0, http_client: httpx.Client | None = None) -> None:
        self.tracking_uri = tracking_uri
        self._http = http_client or http.client(tracking_uri, timeout_s=timeout_s)

    def __enter__(self) -> MLflowClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether the server answers; False while it refuses connections."""
        try:
            return self._http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def server_version(self) -> str:
        """The server's own version, like "3.17.2"."""
        return http.request(self._http, "GET", "/version").text.strip()

    def experiment(self, name: str) -> str | None:
        """The id of an experiment, None if there is none of that name."""
        try:
            answer = self._get("experiments/get-by-name", experiment_name=name)
        except RequestFailed as error:
            if error.status == 404:
                return None
            raise
        return str(answer["experiment"]["experiment_id"])

    def ensure_experiment(self, name: str) -> str:
        """The id of an experiment, made if missing; another process may make it at the same moment."""
        if found := self.experiment(name):
            return found
        try:
            return str(self._post("experiments/create", name=name)["experiment_id"])
        except RequestFailed:
            if found := self.experiment(name):
                return found
            raise

    def run(self, run_id: str) -> Run:
        """One run with its latest metrics and its parameters."""
        return _run(self._get("runs/get", run_id=run_id)["run"])

    def nested_runs(self, run_id: str, experiment_id: str) -> list[Run]:
        """The runs nested under one, such as the trials of a search; the newest first."""
        return self.runs(experiment_id, f"tags.`mlflow.parentRunId` = '{run_id}'")

    def runs(self, experiment_id: str, query: str = "") -> list[Run]:
        """The newest runs of an experiment that match MLflow's search `query`; at most 200."""
        answer = self._post("runs/search", experiment_ids=[experiment_id], filter=query, max_results=_PAGE)
        return [_run(each) for each in answer.get("runs", [])]

    def artifacts(self, run_id: str, path: str = "") -> list[str]:
        """Paths of a run's artifacts directly below `path`."""
        answer = self._get("artifacts/list", run_id=run_id, **({"path": path} if path else {}))
        return [str(each["path"]) for each in answer.get("files", [])]

    def version(self, name: str, version: int) -> Version:
        return _version(self._get("model-versions/get", name=name, version=str(version))["model_version"])

    def versions(self, name: str) -> list[Version]:
        """All versions of a model in ascending order, with tags but without aliases; empty for an unknown name."""
        query = "name='{}'".format(name.replace("'", "''"))
        found: list[Version] = []
        token = ""
        while True:
            page = {"page_token": token} if token else {}
            answer = self._get("model-versions/search", filter=query, max_results=_PAGE, **page)
            found += [_version(each) for each in answer.get("model_versions", [])]
            token = answer.get("next_page_token", "")
            if not token:
                return sorted(found, key=lambda each: each.version)

    def aliases(self, name: str) -> dict[str, int]:
        """alias -> version."""
        model = self._get("registered-models/get", name=name)["registered_model"]
        return {each["alias"]: int(each["version"]) for each in model.get("aliases", [])}

    def alias(self, name: str, alias: str) -> Version | None:
        """The version that has an alias, None if no version has it."""
        version = self.aliases(name).get(alias)
        return None if version is None else self.version(name, version)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Move an alias to a version, in one step for every reader."""
        self._post("registered-models/alias", name=name, alias=alias, version=str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away; one that is not set is no error."""
        self._call("DELETE", "registered-models/alias", json={"name": name, "alias": alias})

    def set_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        self._post("model-versions/set-tag", name=name, version=str(version), key=key, value=value)

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
