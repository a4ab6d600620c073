"""A pipeline step in a Pod: its Job, what its Pod is told and stores, and how a failure is put in words."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from harness.backends.kubernetes.pipeline_graph import Ready
from harness.backends.kubernetes.pipeline_job import (
    UNSCHEDULABLE_S,
    Cluster,
    ending,
    finished,
    hopeless,
    job,
    job_name,
    refused,
)
from harness.backends.kubernetes.pipeline_launch import Files, launch, outputs
from harness.backends.kubernetes.pipeline_spec import Component, Container, Input, Task
from harness.backends.kubernetes.pipeline_values import Artifact, Values
from harness.clients.artifacts import ArtifactStore
from harness.components import pipeline_step
from harness.errors import ConfigError, RequestFailed

CLUSTER = Cluster("production-ab12", "run-ab12", "http://127.0.0.1:1", "http://mlflow:5000", context="kind-x")
API = "/api/2.0/mlflow-artifacts/artifacts"


def ready(*command: Any, cache: bool = False, **inputs: Any) -> Ready:
    """A task with two inputs and two outputs."""
    component = Component(
        "comp-score",
        parameters={"depth": Input("NUMBER_INTEGER"), "note": Input("STRING", optional=True)},
        artifacts={"rows": Input("system.Dataset@0.0.1")},
        output_parameters={"auc": "NUMBER_DOUBLE"},
        output_artifacts={"model": "system.Model@0.0.1"},
        container=Container("example/steps:1", command or ("score",), env={"MODE": "fast"}),
    )
    task = Task("score", "comp-score", cache=cache, retries=2)
    rows = Artifact("rows", "mlflow-artifacts:/p/one/split/rows", {"fingerprint": "f"}, "system.Dataset@0.0.1")
    return Ready("loop/0/score", task, component, Values({"depth": 3, **inputs}, {"rows": rows}))


class Stored(httpx.BaseTransport):
    """An MLflow server's artifact proxy, in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = unquote(request.url.path).removeprefix(API).lstrip("/")
        if request.method == "PUT":
            self.files[path] = request.read()
            return httpx.Response(200, json={})
        if path:
            return httpx.Response(200, content=self.files[path]) if path in self.files else httpx.Response(404)
        folder = request.url.params["path"]
        within = {name.removeprefix(f"{folder}/") for name in self.files if name.startswith(f"{folder}/")}
        names = {name.partition("/")[0]: "/" in name for name in within}
        return httpx.Response(200, json={"files": [{"path": name, "is_dir": is_dir} for name, is_dir in names.items()]})


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def store(stored: Stored) -> ArtifactStore:
    return ArtifactStore("http://mlflow:5000", transport=stored)


def test_files_and_folders_come_back_from_the_store_as_they_went_in(store: ArtifactStore, tmp_path: Path) -> None:
    """A model may be a folder; what is not there is None, not an error of the server."""
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "data" / "tree.bin").write_bytes(b"tree")
    (tmp_path / "model" / "MLmodel").write_text("flavor", encoding="utf-8")
    store.upload(tmp_path / "model", "p/train/model")
    store.download("p/train/model", tmp_path / "back")
    assert (tmp_path / "back" / "data" / "tree.bin").read_bytes() == b"tree"
    assert store.get("p/train/model/MLmodel") == b"flavor"
    assert store.get_json("p/train/none.json") is None
    with pytest.raises(RequestFailed):
        store.download("p/none", tmp_path / "none")
    assert not list(tmp_path.glob(".none*"))


def test_a_pod_is_told_its_command_with_the_paths_that_it_will_find() -> None:
    """Inputs are fetched to where the executor input says that they are; outputs go to the task's own folder."""
    told = launch(ready("score", "--depth", "{{$.inputs.parameters['depth']}}", "{{$}}"), "p/one").document
    *words, asked = told["argv"]
    assert words == ["score", "--depth", "3"]
    rows = json.loads(asked)["inputs"]["artifacts"]["rows"]["artifacts"][0]
    assert told["downloads"] == [("p/one/split/rows", rows["uri"])]
    assert rows["metadata"] == {"fingerprint": "f"}
    assert rows["type"] == {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
    model = json.loads(asked)["outputs"]["artifacts"]["model"]["artifacts"][0]
    assert told["artifacts"]["model"] == {"path": model["uri"], "store": "p/one/loop/0/score/model"}
    assert told["env"] == {"MODE": "fast"}


@pytest.mark.parametrize(
    ("word", "inputs", "words"),
    [
        ("{{$.inputs.artifacts['rows'].path}}", {}, ["/rehearsal/in/rows/0/rows"]),
        ("{{$.inputs.artifacts['rows'].metadata['fingerprint']}}", {}, ["f"]),
        ("{{$.outputs.parameters['auc'].output_file}}", {}, ["/rehearsal/out/auc"]),
        ('{"Concat": ["a=", "{{$.inputs.parameters[\'depth\']}}"]}', {}, ["a=3"]),
        (
            '{"IfPresent": {"InputName": "note", "Then": ["--note", "x"], "Else": "none"}}',
            {"note": "n"},
            ["--note", "x"],
        ),
        ('{"IfPresent": {"InputName": "note", "Then": ["--note", "x"]}}', {}, []),
    ],
)
def test_placeholders_of_commands_are_filled_as_kfp_fills_them(
    word: str, inputs: dict[str, Any], words: list[str]
) -> None:
    """Paths, metadata, joined and optional words."""
    assert launch(ready(word, **inputs), "p/one").document["argv"] == words


def test_a_placeholder_that_is_not_known_is_refused() -> None:
    """A Pod must not be started with a word that means something else."""
    with pytest.raises(ConfigError, match=r"placeholder \{\{\$\.pipeline_job_name\}\} is not supported"):
        launch(ready("{{$.pipeline_job_name}}"), "p/one")


def test_what_may_be_cached_lies_where_the_next_pipeline_finds_it() -> None:
    """The same question has the same folder in any pipeline; another question, or one that may not, has its own."""
    once = launch(ready(cache=True), "p/one")
    assert once.folder == launch(ready(cache=True), "p/two").folder
    assert once.folder.startswith("p/cache/")
    other = replace(ready(cache=True), inputs=Values({"depth": 4}, ready().inputs.artifacts))
    asking = ready("score", "{{$.inputs.parameters['depth']}}", cache=True)
    assert launch(replace(asking, inputs=other.inputs), "p/one").folder != launch(asking, "p/one").folder
    assert launch(ready(), "p/one").folder == "p/one/loop/0/score"


def test_only_a_step_that_names_a_file_of_the_user_fetches_it() -> None:
    """Else each step would fetch the data again."""
    files = Files({"p/data/x.csv": "/rehearsal/data/x.csv"}, {"p/sources.zip": "/rehearsal/source"})
    told = launch(ready("score", "/rehearsal/data/x.csv"), "p/one", files).document
    assert ("p/data/x.csv", "/rehearsal/data/x.csv") in told["downloads"]
    assert told["archives"] == []


def step(tmp_path: Path, code: str) -> dict[str, Any]:
    """A step's description whose paths are in `tmp_path`; it runs Python."""
    asked = launch(ready(), "p/one").document
    told: dict[str, Any] = json.loads(json.dumps(asked).replace("/rehearsal/", f"{tmp_path}/"))
    return {**told, "argv": [sys.executable, "-c", code, *(each[1] for each in told["downloads"])]}


def test_a_step_fetches_runs_and_stores_and_its_outputs_are_read_back(
    stored: Stored, store: ArtifactStore, tmp_path: Path
) -> None:
    """Metadata and parameters come from the executor's output, or from the file of an output parameter."""
    stored.files["p/one/split/rows"] = b"1,2"
    out = tmp_path / "out"
    written = {"artifacts": {"model": {"artifacts": [{"uri": str(out / "model"), "metadata": {"detail": "d"}}]}}}
    code = (
        "import sys, pathlib; rows = pathlib.Path(sys.argv[1]).read_text()\n"
        f"pathlib.Path({str(out / 'model')!r}).write_text('model of ' + rows)\n"
        f"pathlib.Path({str(out / 'auc')!r}).write_text('0.75')\n"
        f"pathlib.Path({str(out / 'executor_output.json')!r}).write_text({json.dumps(json.dumps(written))})\n"
    )
    assert pipeline_step.run(step(tmp_path, code), store, tmp_path) == 0
    made = outputs(ready(), store.get_json("p/one/loop/0/score/result.json"))
    assert made.parameters == {"auc": 0.75}
    model = made.artifacts["model"]
    assert isinstance(model, Artifact)
    assert (model.metadata, model.schema) == ({"detail": "d"}, "system.Model@0.0.1")
    assert stored.files[model.uri.removeprefix("mlflow-artifacts:/")] == b"model of 1,2"


def test_an_input_that_its_step_never_wrote_is_no_file(store: ArtifactStore, tmp_path: Path) -> None:
    """As on this machine: what the step makes of that is its own affair."""
    code = "import pathlib, sys; sys.exit(7 if not pathlib.Path(sys.argv[1]).exists() else 0)"
    assert pipeline_step.run(step(tmp_path, code), store, tmp_path) == 7


def test_a_step_that_fails_stores_its_error_and_no_result(stored: Stored, store: ArtifactStore, tmp_path: Path) -> None:
    """Without a result it is not done, and the error crosses the cluster as it was."""
    stored.files["p/one/split/rows"] = b"1,2"
    code = (
        "import os, pathlib, sys\n"
        "pathlib.Path(os.environ['REHEARSAL_STEP_ERRORS'], 'score.json').write_text('{\"type\": \"DataError\"}')\n"
        "sys.exit(3)\n"
    )
    assert pipeline_step.run(step(tmp_path, code), store, tmp_path) == 3
    assert store.get_json("p/one/loop/0/score/error.json") == {"type": "DataError"}
    assert store.get_json("p/one/loop/0/score/result.json") is None


def test_a_jobs_pod_is_restricted_and_labelled_with_its_run() -> None:
    """What Pod Security `restricted` asks for, a read-only root, limits, no token, and no second try but the task's."""
    made = job(ready(), CLUSTER, "training-1", "p/one/launch.json", deadline_s=90)
    assert made["metadata"]["namespace"] == "production-ab12"
    labels = made["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "rehearsal"
    assert "run-ab12" in labels.values()
    assert made["spec"]["template"]["metadata"]["labels"] == labels
    assert (made["spec"]["backoffLimit"], made["spec"]["activeDeadlineSeconds"]) == (2, 90)
    pod = made["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert container["args"] == ["http://mlflow:5000", "p/one/launch.json"]


def test_a_components_own_limits_are_the_pods() -> None:
    """A request may not be above them."""
    small = ready()
    assert small.component.container is not None
    container = replace(small.component.container, limits={"memory": "128Mi"})
    made = job(replace(small, component=replace(small.component, container=container)), CLUSTER, "t", "l", deadline_s=1)
    resources = made["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "2", "memory": "128Mi"}
    assert resources["requests"] == {"cpu": "100m", "memory": "128Mi"}


def test_names_of_jobs_are_short_and_distinct() -> None:
    """Kubernetes takes 63 characters; a loop's rounds differ late in their names."""
    one, two = (
        job_name("training-with-a-long-name-1", f"for-loop-2/{number}/train_and_judge" * 2) for number in (1, 2)
    )
    assert one != two
    assert len(one) <= 63
    assert one == one.lower()
    assert "/" not in one


def pod(name: str = "score-x", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status}


def waiting(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": f"{reason} of example/steps:1"}}
    return pod(containerStatuses=[{"image": "example/steps:1", "state": state}])


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"])
def test_a_pod_that_cannot_start_is_given_up_with_the_reason(reason: str) -> None:
    """No one waits for an image that does not come."""
    assert hopeless([waiting(reason)], 0, {"score-x": 0}) == f"{reason}: {reason} of example/steps:1"
    assert hopeless([waiting("ContainerCreating")], 0, {"score-x": 0}) == ""


def test_a_pod_without_room_is_given_some_time() -> None:
    """Another step's Pod may be ending."""
    lost = pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes: memory"}])
    assert hopeless([lost], UNSCHEDULABLE_S, {"score-x": 0}) == ""
    assert hopeless([lost], UNSCHEDULABLE_S + 1, {"score-x": 0}) == "Unschedulable: 0/1 nodes: memory"


def test_how_a_job_ended_is_said_in_words() -> None:
    """The last Pod's exit code and reason; or why there is no Pod."""
    dead = pod(containerStatuses=[{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}])
    condition = {"type": "Failed", "status": "True", "message": "Job was active longer than specified deadline"}
    failed = {"metadata": {"name": "score"}, "status": {"conditions": [condition]}}
    assert finished(failed) is False
    assert finished({"status": {}}) is None
    assert ending(failed, [dead]) == "Pod score-x ended with exit code 137 (OOMKilled)"
    assert ending(failed, []) == "Job score: Job was active longer than specified deadline"
    event = {"reason": "FailedCreate", "message": "exceeded quota", "involvedObject": {"name": "score"}}
    assert refused([event], "score") == "exceeded quota"
    assert refused([event], "other") == ""
