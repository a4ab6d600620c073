"""What the platform of this machine tells of itself: its registry, its replicas; and who may tell its webhook."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.backends.embedded.backend import EmbeddedBackend
from harness.backends.status import ReplicaStatus
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


@pytest.fixture
def backend(platform: Platform) -> EmbeddedBackend:
    platform.require(Capability.ALERTS)
    assert isinstance(platform.backend, EmbeddedBackend)
    return platform.backend


def told(backend: EmbeddedBackend, promql: str) -> None:
    """Wait until Prometheus has it."""
    wait(lambda: bool(backend.query(promql)), what=promql, deadline=Deadline.after(30), every_s=0.1)


def ready(platform: Platform, namespace: str, name: str, revision: str) -> ReplicaStatus:
    """The one replica of a revision, once it is ready again."""
    found = wait(
        lambda: [each for each in platform.backend.faults.replicas(namespace, name, revision) if each.pid],
        what="a replica", deadline=Deadline.after(30), every_s=0.1,
    )  # fmt: skip
    return found[0]


def test_a_registry_that_stands_still_is_down_until_it_goes_on(platform: Platform, backend: EmbeddedBackend) -> None:
    """It has its port, it takes connections, it answers nobody."""
    alerts = platform.alerts
    assert platform.registry is not None
    told(backend, "rehearsal_registry_up == 1")
    pid = backend.faults.mlflow()
    backend.faults.stop(pid)
    try:
        alert = alerts.wait("RehearsalRegistryDown", Deadline.after(30))
    finally:
        backend.faults.cont(pid)
    alerts.wait_resolved(alert, Deadline.after(30))


def test_replicas_that_die_again_and_again_are_told(
    platform: Platform, backend: EmbeddedBackend, high_utiliser: Dataset
) -> None:
    """With the revision's name, after the third death."""
    alerts = platform.alerts
    service = platform.deploy(platform.train(high_utiliser, max_depth=2))
    where = (service.namespace, service.name, "v1")
    for deaths in range(4):
        told(backend, f"rehearsal_replica_restarts_total == {deaths}")
        os.kill(ready(platform, *where).pid, signal.SIGKILL)
    alert = alerts.wait("RehearsalReplicaCrashLoop", Deadline.after(30), service=service.name)
    assert alert.labels["revision"] == "v1"


def test_a_secret_of_the_run_is_its_owners_alone(backend: EmbeddedBackend, platform: Platform) -> None:
    """Neither in the run's folder nor in a command line; gone with the run."""
    assert platform.alerts.records() == []
    (configuration,) = backend.folder.rglob("alertmanager.yml")
    path = Path(next(line for line in configuration.read_text().splitlines() if "credentials_file" in line).split()[-1])
    secret = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    written = [file for file in backend.folder.rglob("*") if file.is_file()]
    assert [file for file in written if secret.encode() in file.read_bytes()] == []
    platform.close()
    assert not path.exists()
