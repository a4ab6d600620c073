"""What happened to a Pod between two looks, and whether it was missed or given up."""

from __future__ import annotations

from typing import Any

import pytest

from harness._traffic import GatewayOutages
from harness.backends.kubernetes.faults import _full_name
from harness.backends.kubernetes.lives import Life, change, ended_at, is_wanted
from harness.backends.kubernetes.nodes import container_id
from harness.errors import PlatformError
from harness.runtime.events import Event
from tests.unit.cluster_story import BEGAN, condition, container, ended, pod

READY = Life("v1", ready=True, ending=False, restarts=0)
STARTING = Life("v1", ready=False, ending=False, restarts=0)
ENDING = Life("v1", ready=False, ending=True, restarts=0)
AGAIN = Life("v1", ready=False, ending=False, restarts=1)


@pytest.mark.parametrize(
    ("before", "now", "happened"),
    [
        (None, STARTING, ""),
        (None, READY, "ready"),
        (STARTING, READY, "ready"),
        (READY, READY, ""),
        (READY, STARTING, ""),
        (READY, ENDING, "ended"),
        (READY, None, "ended"),
        (ENDING, None, ""),
        (None, None, ""),
        (None, ENDING, ""),
        (READY, AGAIN, "restarted"),
        (AGAIN, AGAIN, ""),
    ],
)
def test_each_change_of_a_pod_is_told_once(before: Life | None, now: Life | None, happened: str) -> None:
    """A Pod that is deleted is told when its end begins, not again when it is gone."""
    assert change(before, now) == happened


def test_a_pods_life_is_read_from_its_status() -> None:
    running = pod(container(restarts=2), conditions=[condition("Ready", "True")])
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"

    assert Life.of(running) == Life(running["metadata"]["name"], ready=True, ending=False, restarts=2)
    assert Life.of(ending).ending


def deployment(replicas: int, **metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("found", "left", "wanted"),
    [
        (deployment(1), 0, True),
        (deployment(2), 1, True),
        (deployment(1), 1, False),
        (deployment(0), 0, False),
        (deployment(1, deletionTimestamp="now"), 0, False),
        (None, 0, False),
    ],
)
def test_a_pod_that_its_deployment_gave_up_has_not_died(found: dict[str, Any] | None, left: int, wanted: bool) -> None:
    """Scaled down, or gone with its revision; all else is a death, whoever brought it about."""
    assert is_wanted(found, left) is wanted


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("rehearsal/model-server:1", "docker.io/rehearsal/model-server:1"),
        ("postgres:15", "docker.io/library/postgres:15"),
        ("ghcr.io/mlflow/mlflow:v3", "ghcr.io/mlflow/mlflow:v3"),
        ("localhost/x:1", "localhost/x:1"),
    ],
)
def test_an_image_is_hidden_under_the_name_that_the_node_knows(image: str, full: str) -> None:
    assert _full_name(image) == full


def test_a_container_is_found_by_its_name() -> None:
    """One that does not run has no id, and is no silent success."""
    running = pod({**container(), "containerID": "containerd://abc123"})

    assert container_id(running, "kserve-container") == "abc123"
    with pytest.raises(PlatformError, match="container other does not run"):
        container_id(running, "other")


def test_an_end_is_told_when_it_was_and_not_when_it_was_noticed() -> None:
    """The kubelet says it once the container is up again; a Pod that is deleted ends now."""
    again = pod(container(restarts=1, lastState=ended(137, when=8.0)))

    assert ended_at(again, "restarted") == BEGAN + 8
    assert ended_at(again, "ended") > BEGAN + 8


def test_the_gateways_outage_covers_every_second_until_it_is_back() -> None:
    """And the seconds until now while it is away; other deaths are none of it."""
    outages = GatewayOutages()
    outages(Event(100.0, "process.died", "mlflow", "", "warning", {}))
    outages(Event(102.5, "process.died", "envoy", "", "warning", {"since": 100.0}))
    assert outages.moments(now=101.5) == [100.0, 101.0, 102.0]

    outages(Event(103.2, "component.restarted", "envoy", "", "info", {}))
    assert outages.moments(now=900.0) == [100.0, 101.0, 102.0, 103.0, 104.0]
