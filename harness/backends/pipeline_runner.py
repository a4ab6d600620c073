"""Where the training pipeline's steps run: a choice that changes nothing of what they leave."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.backends.backend import Backend, Capability
from harness.errors import CapabilityMissing, ConfigError
from harness.lifecycle.spec import TrainingSpec
from harness.runtime.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping


AUTO = "auto"
"""In place of a runner's name: the one of the world."""
NOT_IN_CONTAINERS = "the steps need the network of a platform of containers: --backend containers has one"


class Runner(StrEnum):
    """Who runs the training pipeline."""

    LOCAL = "local"
    """kfp.local, on this machine; in every world."""
    DOCKER = "docker"
    """kfp.local, a container for each step, with the environment of our pipeline image."""
    CLUSTER = "cluster"
    """Kubernetes Jobs, a step a Pod."""
    TRAINER = "trainer"
    """One TrainJob of Kubeflow Trainer, which does all steps."""


NEEDS: Mapping[Runner, Capability] = {
    Runner.DOCKER: Capability.PIPELINE_IN_CONTAINERS,
    Runner.CLUSTER: Capability.PIPELINE_IN_CLUSTER,
    Runner.TRAINER: Capability.TRAINER,
}
_JOBS = {
    Runner.DOCKER: "harness.containers.pipeline:main",
    Runner.CLUSTER: "harness.backends.kubernetes.pipeline_jobs:main",
    Runner.TRAINER: "harness.backends.kubernetes.train_job:main",
}


def runner(name: str) -> Runner | None:
    """The runner of that name, None for "auto"; ConfigError names the others."""
    try:
        return None if name == AUTO else Runner(name)
    except ValueError:
        raise ConfigError(f"pipeline runner {name!r}: expected {', '.join((AUTO, *Runner))}") from None


def default_runner(backend: Backend) -> Runner:
    """Who runs pipelines in a world if nobody says: in containers where the platform's parts are containers."""
    return Runner.LOCAL if Capability.PIPELINE_IN_CONTAINERS in backend.missing() else Runner.DOCKER


def job(backend: Backend, chosen: Runner, spec: TrainingSpec, deadline: Deadline) -> tuple[str, str]:
    """The job that runs the training pipeline, as `Backend.work` takes it: target, spec. Errors: CapabilityMissing."""
    if chosen is Runner.LOCAL:
        return "harness.lifecycle.pipeline:main", spec.to_json()
    needed = NEEDS[chosen]
    if reason := backend.missing().get(needed):
        raise CapabilityMissing(needed.value, hint=reason)
    told = {
        "training": json.loads(spec.to_json()),
        "cluster": backend.pipeline_cluster(chosen, deadline),
        "deadline_s": deadline.remaining_s(),
    }
    return _JOBS[chosen], json.dumps(told)
