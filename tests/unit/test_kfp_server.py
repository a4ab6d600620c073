"""The client of a Kubeflow Pipelines API server, against its HTTP API v2beta1 as a fake transport speaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.clients.kfp_server import KfpServer, ServerTask
from harness.errors import RequestFailed, StepFailed, WaitTimeout
from harness.runtime.clock import Deadline

NEVER = "0001-01-01T00:00:00Z"


class Server(httpx.BaseTransport):
    """A server with one kind of run; `states` are what the run's looks give, one after the other."""

    def __init__(self, *states: str) -> None:
        self.states = list(states) or ["SUCCEEDED"]
        self.pipelines: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.uploaded: list[bytes] = []
        self.down = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        path = request.url.path.removeprefix("/apis/v2beta1")
        told: Any = json.loads(body) if request.headers.get("content-type") == "application/json" else None
        self.asked.append((request.method, path, told))
        params = dict(request.url.params)
        match request.method, path:
            case "GET", "/healthz":
                return httpx.Response(200, json={"multi_user": False})
            case "GET", "/pipelines":
                return self._page("pipelines", self.pipelines, params)
            case "GET", "/experiments":
                return self._page("experiments", self.experiments, params)
            case "POST", "/experiments":
                self.experiments.append({**told, "experiment_id": f"e{len(self.experiments)}"})
                return httpx.Response(200, json=self.experiments[-1])
            case "POST", "/pipelines/upload":
                self.uploaded.append(body)
                self.pipelines.append({"pipeline_id": "p1", "display_name": params["name"]})
                return httpx.Response(200, json=self.pipelines[-1])
            case "GET", "/pipelines/p1/versions":
                return httpx.Response(
                    200, json={"pipeline_versions": [{"pipeline_version_id": "v1", "display_name": "first"}]}
                )
            case "POST", "/pipelines/upload_version":
                self.uploaded.append(body)
                return httpx.Response(200, json={"pipeline_version_id": "v2", "display_name": params["name"]})
            case "POST", "/runs":
                return httpx.Response(200, json=self._run("PENDING", told["display_name"]))
            case "GET", "/runs/r1":
                if self.down:
                    self.down -= 1
                    return httpx.Response(503, text="upstream connect error")
                return httpx.Response(200, json=self._run(self.states.pop(0) if self.states[1:] else self.states[0]))
            case "POST", "/runs/r1:terminate":
                return httpx.Response(200, json={})
        return httpx.Response(404, json={"message": f"no {path}"})

    def _page(self, key: str, items: list[dict[str, Any]], params: dict[str, str]) -> httpx.Response:
        """One item a page, so that the second page must be asked for."""
        at = int(params.get("page_token") or 0)
        rest = {"next_page_token": str(at + 1)} if items[at + 1 :] else {}
        return httpx.Response(200, json={key: items[at : at + 1], **rest})

    def _run(self, state: str, name: str = "training") -> dict[str, Any]:
        task = {"display_name": "train", "state": state, "start_time": "2026-01-01T00:00:01Z", "end_time": NEVER}
        if state == "FAILED":
            task["error"] = {"message": "exit code 1"}  # type: ignore[assignment]
        return {"run_id": "r1", "display_name": name, "state": state, "run_details": {"task_details": [task]}}


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text("pipelineInfo: {name: training}\n", encoding="utf-8")
    return path


def client(server: Server, **options: Any) -> KfpServer:
    return KfpServer("http://kfp:8888/", transport=server, **options)


def test_a_new_pipeline_is_uploaded_and_a_known_one_gets_a_version(compiled: Path) -> None:
    """One pipeline on the server, whatever the number of runs; it is found on the second page too."""
    server = Server()
    server.pipelines.append({"pipeline_id": "p0", "display_name": "another"})
    with client(server) as kfp:
        assert kfp.upload(compiled, name="training", version="run-1").version_id == "v1"
        assert kfp.upload(compiled, name="training", version="run-2").version_id == "v2"
    assert [each["display_name"] for each in server.pipelines] == ["another", "training"]
    assert all(compiled.read_bytes() in each for each in server.uploaded)


def test_a_run_is_asked_with_its_version_its_arguments_and_its_experiment(compiled: Path) -> None:
    """The experiment is made once."""
    server = Server()
    with client(server) as kfp:
        version = kfp.upload(compiled, name="training", version="run-1")
        for name in ("one", "two"):
            run = kfp.run(version, {"seed": 7}, name=name, experiment="rehearsals")
    assert (run.run_id, run.name, run.state, run.ended) == ("r1", "two", "PENDING", False)
    assert len(server.experiments) == 1
    (asked, _) = [told for method, path, told in server.asked if (method, path) == ("POST", "/runs")]
    assert asked["pipeline_version_reference"] == {"pipeline_id": "p1", "pipeline_version_id": "v1"}
    assert asked["runtime_config"] == {"parameters": {"seed": 7}}
    assert asked["experiment_id"] == "e0"


def test_waiting_tells_each_change_of_a_task_and_outlives_a_restart_of_the_server() -> None:
    """A 503 between two looks is no end of the run."""
    server = Server("RUNNING", "RUNNING", "SUCCEEDED")
    server.down = 1
    told: list[ServerTask] = []
    with client(server) as kfp:
        run = kfp.wait("r1", Deadline.after(30), progress=told.append, every_s=0)
    assert run.succeeded
    assert [task.state for task in told] == ["RUNNING", "SUCCEEDED"]
    assert told[0].started_at == 1767225601
    assert told[0].ended_at is None


def test_a_run_that_fails_is_raised_with_the_task_that_failed() -> None:
    """By name and with the server's message."""
    with client(Server("FAILED")) as kfp, pytest.raises(StepFailed, match="FAILED: train: exit code 1"):
        kfp.wait("r1", Deadline.after(30))


def test_a_run_that_does_not_end_is_a_timeout_with_its_state() -> None:
    """It goes on; ending it is the caller's choice."""
    server = Server("RUNNING")
    with client(server) as kfp:
        with pytest.raises(WaitTimeout, match="last seen: RUNNING"):
            kfp.wait("r1", Deadline.after(0))
        kfp.terminate("r1")
    assert server.asked[-1][:2] == ("POST", "/runs/r1:terminate")


def test_a_token_and_a_namespace_go_with_what_needs_them(compiled: Path) -> None:
    """A multi-user server knows no pipeline without a profile."""
    server = Server()
    seen: list[httpx.Request] = []
    inner = server.handle_request

    class Noting(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return inner(request)

    with KfpServer("http://kfp:8888", token="secret", namespace="team", transport=Noting()) as kfp:
        kfp.upload(compiled, name="training", version="run-1")
    assert {request.headers["authorization"] for request in seen} == {"Bearer secret"}
    assert seen[0].url.params["namespace"] == "team"


def test_an_answer_that_is_an_error_names_the_call_and_what_to_do() -> None:
    """Not a stack of generated code."""
    with client(Server()) as kfp, pytest.raises(RequestFailed, match=r"GET .*/runs/none answered 404.*kubeflow\.md"):
        kfp.get("none")
