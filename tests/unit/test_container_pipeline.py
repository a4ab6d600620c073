"""Pipeline steps as containers: what Docker is told of them, and which world has them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.backends.backend import Backend, Capability
from harness.backends.pipeline_runner import NEEDS, NOT_IN_CONTAINERS, Runner, default_runner, job, runner
from harness.containers import pipeline
from harness.errors import CapabilityMissing, ConfigError
from harness.lifecycle import kfp_pipeline
from harness.lifecycle._kfp_local import artifacts
from harness.lifecycle._watch import Todo, Watch
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.spec import TrainingSpec
from harness.runtime.clock import Deadline

PLACE = pipeline.Place("net", "http://mlflow:5000", {"rehearsal.dev/run": "r"}, memory_mib=512)


def todo(tmp_path: Path, dataset: Dataset, source_root: str | None = None) -> Todo:
    spec = TrainingSpec(dataset, "m", "http://127.0.0.1:1", "x", str(tmp_path), source_root=source_root)
    return Todo(tmp_path / "p.yaml", spec, {}, tmp_path, tmp_path / "scratch", Watch(tmp_path / "progress"))


class World:
    """A backend as far as a runner asks it."""

    def __init__(self, missing: Mapping[Capability, str]) -> None:
        self._missing = dict(missing)

    def missing(self) -> dict[Capability, str]:
        return self._missing

    def pipeline_cluster(self, runner: str, deadline: Deadline) -> dict[str, Any]:
        return PLACE.to_dict()


def test_a_step_is_limited_published_nowhere_and_runs_as_whoever_asked_for_it(tmp_path: Path) -> None:
    """What it leaves is theirs; it has nothing but the run's network."""
    told = pipeline.run_args(PLACE, todo(tmp_path, high_utiliser()))
    assert told["user"] == f"{os.geteuid()}:{os.getegid()}"
    assert told["mem_limit"] == told["memswap_limit"] == 512 * 1024**2
    assert told["nano_cpus"] > 0
    assert (told["cap_drop"], told["read_only"]) == (["ALL"], True)
    assert (told["network"], told["labels"]) == ("net", {"rehearsal.dev/run": "r"})
    assert "ports" not in told


def test_a_step_sees_the_users_data_and_sources_read_only(tmp_path: Path) -> None:
    """And what cached steps have made; it writes its outputs, and why it failed."""
    data, sources = tmp_path / "claims.csv", tmp_path / "mine"
    sources.mkdir()
    data.touch()
    asked = todo(tmp_path, Dataset("claims", str(data), "cost", task="regression"), str(sources))
    seen = {mount["Source"]: mount["ReadOnly"] for mount in pipeline.mounts(asked)}
    assert seen == {str(artifacts()): True, str(data): True, str(sources): True, str(asked.errors): False}


def test_data_that_come_with_the_image_are_not_looked_for_here(tmp_path: Path) -> None:
    """The default data set is inside of a package."""
    seen = [mount["Source"] for mount in pipeline.mounts(todo(tmp_path, high_utiliser()))]
    assert seen == [str(artifacts()), str(tmp_path / "scratch" / "errors")]


def test_the_image_is_the_one_that_the_compiled_pipeline_names() -> None:
    """It is asked for before kfp.local would pull it."""
    assert pipeline.IMAGE == kfp_pipeline.IMAGE


def test_the_default_runner_is_the_worlds() -> None:
    """Containers where the platform's parts are containers, else this machine."""
    assert default_runner(cast(Backend, World({}))) is Runner.DOCKER
    without = {Capability.PIPELINE_IN_CONTAINERS: NOT_IN_CONTAINERS}
    assert default_runner(cast(Backend, World(without))) is Runner.LOCAL
    assert runner("auto") is None


def test_a_runner_that_is_none_names_the_others() -> None:
    """One line, before anything is started."""
    with pytest.raises(ConfigError, match="'podman': expected auto, local, docker, cluster, trainer"):
        runner("podman")


def test_a_world_without_containers_says_where_they_are(tmp_path: Path) -> None:
    """The reason is the skip's."""
    spec = todo(tmp_path, high_utiliser()).spec
    world = cast(Backend, World({NEEDS[Runner.DOCKER]: NOT_IN_CONTAINERS}))
    with pytest.raises(CapabilityMissing, match="pipeline in containers") as caught:
        job(world, Runner.DOCKER, spec, Deadline.after(1))
    assert "--backend containers" in caught.value.hint
