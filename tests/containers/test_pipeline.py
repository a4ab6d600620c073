"""The training pipeline with a container for each step leaves what it leaves elsewhere; with --backend containers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import numpy as np
import pandas as pd
import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.containers import pipeline
from harness.containers.labels import RUN
from harness.errors import StepFailed, TrainingFunctionError
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.kfp_pipeline import CACHED, IMAGE
from harness.lifecycle.spec import TrainingSpec
from harness.lifecycle.tracking import client
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.pipelines import leaves_what_the_embedded_one_leaves


@pytest.fixture
def contained(platform: Platform) -> Platform:
    """A platform of containers."""
    platform.require(Capability.PIPELINE_IN_CONTAINERS)
    return platform


@dataclass(frozen=True)
class Steps:
    """The containers of one run's pipeline steps."""

    client: docker.DockerClient
    label: str

    def running(self) -> list[str]:
        wanted = {"label": self.label, "ancestor": IMAGE}
        return [str(each.id) for each in self.client.containers.list(all=True, filters=wanted, ignore_removed=True)]


@pytest.fixture
def place(contained: Platform) -> pipeline.Place:
    """Where the steps of this platform's pipelines run."""
    return pipeline.Place(**contained.backend.pipeline_cluster("docker", Deadline.after(60)))


@pytest.fixture
def steps(place: pipeline.Place, docker_client: docker.DockerClient) -> Iterator[Steps]:
    """None of them is there when a pipeline has ended, however it did."""
    found = Steps(docker_client, f"{RUN}={place.labels[RUN]}")
    yield found
    assert found.running() == []


def test_a_pipeline_in_containers_leaves_what_the_embedded_one_leaves(contained: Platform, steps: Steps) -> None:
    """The same seed: parameters, metrics, trials, plots, held-out predictions, MLflow runs and versions are equal."""
    leaves_what_the_embedded_one_leaves(contained, "docker")


def test_containers_are_the_default_and_a_second_pipeline_takes_from_the_cache(
    contained: Platform, steps: Steps
) -> None:
    """Ingest, validate and features need no container; what a process has made is not taken for what an image makes."""
    first = contained.train(high_utiliser(), max_depth=2)
    again = contained.train(high_utiliser(), max_depth=3)
    assert (first.result.run.runner, again.result.run.runner) == ("docker", "docker")
    assert {task.name for task in again.result.run.tasks if task.cached} == set(CACHED)


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A user's own data file, in the folder that the tests run in."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"age": random.normal(50, 9, 300), "cost": random.normal(9, 2, 300)})
    frame.to_csv(tmp_path / "claims.csv", index=False)
    return Dataset("claims", str(tmp_path / "claims.csv"), "cost", task="regression")


def test_a_users_function_that_fails_in_a_container_is_told_as_on_this_machine(
    contained: Platform, claims: Dataset, steps: Steps
) -> None:
    """The error keeps its class and the place in the user's file, and MLflow's run is marked."""
    name = user_function("raise KeyError('bmi')")
    with pytest.raises(TrainingFunctionError, match=rf"raised KeyError: 'bmi' \(.*{name}\.py:2\)"):
        contained.train(claims, train=f"{name}:train")
    runs = client(contained.backend.tracking_uri)
    experiment = runs.get_experiment_by_name(claims.name)
    assert [run.info.status for run in runs.search_runs([experiment.experiment_id])] == ["FAILED"]


def user_function(line: str) -> str:
    """A module of the folder that the tests run in, with a training function of one line; its name."""
    name = f"mine_{secrets.token_hex(4)}"
    Path(f"{name}.py").write_text(f"def train(features, target):\n    {line}\n", encoding="utf-8")
    return name


def test_a_step_has_the_images_environment_and_not_the_developers(
    contained: Platform, claims: Dataset, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither their variables nor their files, but for data and sources, which it cannot write."""
    monkeypatch.setenv("MY_TOKEN", "secret")
    looks = [
        "os.environ.get('MY_TOKEN')",
        f"os.path.exists({pipeline.__file__!r})",
        "os.path.exists('/opt/rehearsal')",
        f"os.access({claims.source!r}, os.R_OK)",
        f"os.access({claims.source!r}, os.W_OK)",
        f"os.access({str(Path.cwd())!r}, os.W_OK)",
    ]
    name = user_function(f"import os; raise ValueError(str([{', '.join(looks)}]))")
    with pytest.raises(TrainingFunctionError, match=r"ValueError: \[None, False, True, True, False, False\]"):
        contained.train(claims, train=f"{name}:train")


def test_a_step_that_needs_more_memory_than_its_limit_is_named(
    contained: Platform, place: pipeline.Place, steps: Steps
) -> None:
    """A noisy step is caught; the kernel leaves it no time for a word of its own."""
    told = asked(contained, {**place.to_dict(), "memory_mib": 48})
    with pytest.raises(StepFailed, match="out of memory: a step may use 48 MiB"):
        contained.backend.work("harness.containers.pipeline:main", told, name="small", deadline=Deadline.after(120))


def asked(platform: Platform, place: dict[str, object]) -> str:
    spec = TrainingSpec(
        high_utiliser(), "m", platform.backend.tracking_uri, "x", str(platform.run.folder), seed=secrets.randbits(30)
    )
    return json.dumps({"training": json.loads(spec.to_json()), "cluster": place})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_pipeline_that_is_killed_leaves_no_container(
    contained: Platform, place: pipeline.Place, steps: Steps, tmp_path: Path, how: signal.Signals
) -> None:
    """Ended by SIGTERM it takes its step along; what a kill -9 leaves goes with the platform."""
    told = asked(contained, place.to_dict())
    code = "import sys; from harness.containers.pipeline import main; main(*sys.argv[1:])"
    argv = [sys.executable, "-c", code, told, str(tmp_path / "result.json")]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)) as job:
        wait(steps.running, what="a step", deadline=Deadline.after(90), every_s=0.1)
        job.send_signal(how)
        job.wait(timeout=60)
    if how == signal.SIGKILL:
        contained.backend.close()
    assert steps.running() == []
