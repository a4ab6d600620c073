"""A Kubeflow Pipelines API server over its HTTP API v2beta1: upload a compiled pipeline, run it, wait for its end.

Written against kfp-server-api 2.17; without importing kfp, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness.clients import http
from harness.errors import RequestFailed, StepFailed
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

_API = "/apis/v2beta1"
_PAGE = 100
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_UNREACHED = "is the Kubeflow Pipelines API server there? docs/kubeflow.md has what it needs."


@dataclass(frozen=True)
class PipelineVersion:
    """An uploaded compiled pipeline."""

    pipeline_id: str
    version_id: str
    name: str


@dataclass(frozen=True)
class ServerTask:
    """A task of a run; times in Unix seconds, None while it has not come to that."""

    name: str
    state: str
    started_at: float | None
    ended_at: float | None
    error: str


@dataclass(frozen=True)
class ServerRun:
    """A run as the server tells it; `state`: PENDING, RUNNING, CANCELING, PAUSED or one of ENDED."""

    run_id: str
    name: str
    state: str
    error: str
    tasks: tuple[ServerTask, ...]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        return self.state == "SUCCEEDED"


class KfpServer:
    """Calls of one server. Every call ends within `timeout_s` or raises RequestFailed.

    token: a bearer token, for a server that asks for one; namespace: the user's profile, in multi-user mode.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        namespace: str = "",
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http.client(url.rstrip("/"), timeout_s=timeout_s, headers=headers, transport=transport)
        self._namespace = namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def health(self) -> dict[str, Any]:
        """What the server says of itself, `multi_user` among it; RequestFailed if it is not there."""
        return self._call("GET", "/healthz")

    def upload(self, compiled: Path, *, name: str, version: str) -> PipelineVersion:
        """Upload a compiled file as a version of the pipeline `name`, which is made if it is new."""
        files = {"uploadfile": (compiled.name, compiled.read_bytes(), "application/yaml")}
        known = self._named("/pipelines", "pipelines", name)
        if known is None:
            made = self._call("POST", "/pipelines/upload", params=self._own({"name": name}), files=files)
            pipeline_id = str(made["pipeline_id"])
            # The upload of a new pipeline makes its first version, of the pipeline's name.
            listed = self._call("GET", f"/pipelines/{pipeline_id}/versions", params={"page_size": 1})
            found = listed["pipeline_versions"][0]
        else:
            pipeline_id = str(known["pipeline_id"])
            params = {"name": version, "pipelineid": pipeline_id}
            found = self._call("POST", "/pipelines/upload_version", params=params, files=files)
        return PipelineVersion(pipeline_id, str(found["pipeline_version_id"]), str(found["display_name"]))

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, which is made if it is new."""
        known = self._named("/experiments", "experiments", name)
        if known is None:
            known = self._call("POST", "/experiments", json=self._own({"display_name": name}))
        return str(known["experiment_id"])

    def run(self, version: PipelineVersion, arguments: Mapping[str, Any], *, name: str, experiment: str) -> ServerRun:
        """Start a run of an uploaded version in an experiment, which is made if it is new."""
        asked = {
            "display_name": name,
            "experiment_id": self.experiment(experiment),
            "pipeline_version_reference": {
                "pipeline_id": version.pipeline_id,
                "pipeline_version_id": version.version_id,
            },
            "runtime_config": {"parameters": dict(arguments)},
        }
        return _run(self._call("POST", "/runs", json=asked))

    def get(self, run_id: str) -> ServerRun:
        """A run and its tasks as they are now."""
        return _run(self._call("GET", f"/runs/{run_id}"))

    def wait(
        self,
        run_id: str,
        deadline: Deadline,
        *,
        progress: Callable[[ServerTask], None] = lambda task: None,
        every_s: float = 1.0,
    ) -> ServerRun:
        """Wait until a run ends; `progress` is told each change of a task. StepFailed if it did not succeed.

        At the deadline WaitTimeout is raised and the run goes on: `terminate` ends it.
        """
        told: dict[str, str] = {}
        last: list[ServerRun] = []

        def ended() -> ServerRun | None:
            try:
                run = self.get(run_id)
            except RequestFailed as error:
                if error.status is None or error.status >= 500:  # a server that restarts is not the run's end
                    return None
                raise
            last[:] = [run]
            for task in run.tasks:
                if told.get(task.name) != task.state:
                    told[task.name] = task.state
                    progress(task)
            return run if run.ended else None

        what = f"KFP run {run_id}"
        state = lambda: last[0].state if last else "no answer"  # noqa: E731
        run = wait(ended, what=what, deadline=deadline, state=state, every_s=every_s)
        if not run.succeeded:
            failed = [f"{task.name}: {task.error or task.state}" for task in run.tasks if task.state == "FAILED"]
            why = "; ".join(failed) or run.error or "the server gives no reason"
            raise StepFailed(f"{what} ended as {run.state}: {why}", hint="its logs are on the server.")
        return run

    def terminate(self, run_id: str) -> None:
        """End a run that goes on; one that has ended stays as it is."""
        self._call("POST", f"/runs/{run_id}:terminate")

    def _named(self, path: str, key: str, name: str) -> dict[str, Any] | None:
        """The listed object with that display name."""
        token = ""
        while True:
            page = self._call("GET", path, params=self._own({"page_size": _PAGE, "page_token": token}))
            for each in page.get(key, ()):
                if each["display_name"] == name:
                    return dict(each)
            token = page.get("next_page_token", "")
            if not token:
                return None

    def _own(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "namespace": self._namespace} if self._namespace else asked

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = http.request(self._http, method, _API + path, hint=_UNREACHED, **options)
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found


def _run(told: Mapping[str, Any]) -> ServerRun:
    details = told.get("run_details", {}).get("task_details", ())
    tasks = [
        ServerTask(
            name=str(each.get("display_name", "")),
            state=str(each.get("state", "")).removeprefix("RUNTIME_STATE_"),
            started_at=_seconds(each.get("start_time")),
            ended_at=_seconds(each.get("end_time")),
            error=str(each.get("error", {}).get("message", "")),
        )
        for each in details
    ]
    return ServerRun(
        run_id=str(told["run_id"]),
        name=str(told.get("display_name", "")),
        state=str(told.get("state", "RUNTIME_STATE_UNSPECIFIED")).removeprefix("RUNTIME_STATE_"),
        error=str(told.get("error", {}).get("message", "")),
        tasks=tuple(tasks),
    )


def _seconds(text: str | None) -> float | None:
    """RFC 3339 to Unix seconds; the server writes year 1 for what has not been."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
