"""An alert of a revision that fails: fired by Prometheus, and come to Alertmanager."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from harness.backends.backend import Part
from harness.backends.kubernetes.cluster import ALERTMANAGER_PORT
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.world import World
from harness.lifecycle.dataset import Dataset
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


def test_an_alert_comes_to_alertmanager(world: World, platform: Platform, high_utiliser: Dataset) -> None:
    """With the namespace, the service and the revision, so that somebody can be called for the right one."""
    if not isinstance(world, KindWorld):
        pytest.skip("needs --backend kind")
    platform.start(Part.METRICS, deadline=Deadline.after(300))
    url = f"http://127.0.0.1:{world.cluster.port(ALERTMANAGER_PORT)}/api/v2/alerts"
    service = platform.deploy(platform.train(high_utiliser, max_depth=2))

    def alerts() -> list[dict[str, Any]]:
        found = httpx.get(url, params={"active": "true"}, timeout=10).json()
        return [each for each in found if each["labels"].get("namespace") == service.namespace]

    assert alerts() == []
    with platform.load(service, rps=40):
        platform.backend.faults.inject(service.namespace, service.name, "v1", {"errors": 0.6})
        (alert,) = wait(alerts, what="an alert", deadline=Deadline.after(60), every_s=0.5)
    expected = {"alertname": "RehearsalRequestsFail", "service": service.name, "revision": "v1", "severity": "warning"}
    assert {name: alert["labels"].get(name) for name in expected} == expected
    assert "fail" in alert["annotations"]["summary"]
