"""The training pipeline in a cluster leaves what it leaves on this machine, and says why when it cannot."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.backends.kubernetes.pipeline_graph import Progress
from harness.backends.kubernetes.pipeline_job import PIPELINE_LABEL, Cluster
from harness.backends.kubernetes.pipeline_jobs import PipelineRun
from harness.backends.kubernetes.pipeline_spec import parse
from harness.backends.kubernetes.pipeline_values import State
from harness.backends.kubernetes.world import World
from harness.clients.artifacts import ArtifactStore
from harness.errors import TrainingFunctionError
from harness.lifecycle._watch import Watch
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.kfp_pipeline import CACHED, IMAGE
from harness.lifecycle.tracking import client
from harness.runtime.clock import Deadline
from tests.pipelines import leaves_what_the_embedded_one_leaves


@pytest.fixture
def in_cluster(platform: Platform, world: World) -> Platform:
    """A platform whose backend has a cluster to run pipelines in."""
    platform.require(Capability.PIPELINE_IN_CLUSTER)
    return platform


@pytest.mark.parametrize("runner", ["cluster", "trainer"])
def test_a_pipeline_in_the_cluster_leaves_what_the_embedded_one_leaves(in_cluster: Platform, runner: str) -> None:
    """The same seed: parameters, metrics, trials, plots, held-out predictions, MLflow runs and versions are equal."""
    leaves_what_the_embedded_one_leaves(in_cluster, runner)


def test_a_second_pipeline_takes_from_the_cache_what_the_first_has_made(in_cluster: Platform, world: World) -> None:
    """Ingest, validate and features need no Pod; no Job is left of either."""
    in_cluster.train(high_utiliser(), runner="cluster", max_depth=2)
    again = in_cluster.train(high_utiliser(), runner="cluster", max_depth=3)
    assert {task.name for task in again.result.run.tasks if task.cached} == set(CACHED)
    namespace = str(in_cluster.backend.pipeline_cluster("cluster", Deadline.after(30))["namespace"])
    assert world.kube.list("batch/v1/Job", namespace, labels=PIPELINE_LABEL) == []


@pytest.mark.parametrize("runner", ["cluster", "trainer"])
def test_a_users_function_that_fails_in_a_pod_is_told_as_on_this_machine(
    in_cluster: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """Its file and the user's data went along; the error keeps its class and the place in the user's file."""
    name = f"mine_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text("def train(features, target):\n    raise KeyError('bmi')\n", encoding="utf-8")
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"age": random.normal(50, 9, 300), "cost": random.normal(9, 2, 300)})
    frame.to_csv(tmp_path / "claims.csv", index=False)
    monkeypatch.chdir(tmp_path)
    claims = Dataset(f"claims-{runner}", str(tmp_path / "claims.csv"), "cost", task="regression")
    with pytest.raises(TrainingFunctionError, match=rf"raised KeyError: 'bmi' \(.*{name}\.py:2\)"):
        in_cluster.train(claims, train=f"{name}:train", runner=runner)
    runs = client(in_cluster.backend.tracking_uri)
    experiment = runs.get_experiment_by_name(claims.name)
    assert [run.info.status for run in runs.search_runs([experiment.experiment_id])] == ["FAILED"]


@pytest.fixture
def small(in_cluster: Platform, world: World, tmp_path: Path) -> Iterator[Small]:
    """Runs the small pipelines of the unit tests in the cluster."""
    told = in_cluster.backend.pipeline_cluster("cluster", Deadline.after(60))
    with ArtifactStore(told["store"]) as store:
        yield Small(world, Cluster.from_dict(told), store, tmp_path)


class Small:
    """One small pipeline, with the image of the steps in place of its own."""

    def __init__(self, world: World, cluster: Cluster, store: ArtifactStore, folder: Path) -> None:
        self.world, self.cluster, self.store, self.folder = world, cluster, store, folder
        self.watch = Watch(folder / "progress.jsonl")

    def run(self, name: str, *, image: str = IMAGE, **values: Any) -> Progress:
        from kfp import compiler

        from tests.unit import small_pipelines

        path = self.folder / f"{name}.yaml"
        compiler.Compiler().compile(getattr(small_pipelines, name), str(path))
        spec = parse(path.read_text(encoding="utf-8").replace("example/steps:1", image))
        run = PipelineRun(
            self.world.kube,
            self.store,
            self.cluster,
            f"{name}-{secrets.token_hex(3)}",
            self.watch,
            self.folder / "logs",
            self.folder,
        )
        return run.run(spec, values, Deadline.after(240))


def test_loops_and_collected_outputs_run_as_pods(small: Small) -> None:
    """Rounds in parallel up to the limit; lists of parameters and artifacts reach the task behind the loop."""
    end = small.run("loop", count=3)
    assert end.state is State.PASSED
    assert small.watch.tasks[0].name == "numbers"
    assert len([task for task in small.watch.tasks if task.name.endswith("/write")]) == 3


def test_a_branch_that_is_not_taken_starts_no_pod(small: Small) -> None:
    """And the output is that of the branch that was."""
    end = small.run("branches", which="b", count=4)
    assert end.outputs.parameters == {"Output": 12}
    assert len([task for task in small.watch.tasks if "condition" in task.name]) == 1


def test_an_image_that_is_nowhere_ends_the_pipeline_with_its_name(small: Small) -> None:
    """At once, and not at the deadline."""
    end = small.run("inner", image="example.invalid/none:1", x=1)
    assert end.state is State.FAILED
    assert "example.invalid/none:1" in (small.folder / "double.json").read_text(encoding="utf-8")
