"""An alert of a revision that fails: fired by Prometheus, and come to Alertmanager, as in a cluster."""

from __future__ import annotations

from typing import Any

from harness import Platform
from harness.backends.backend import Part
from harness.backends.containers.session import ContainerSession
from harness.clients.http import client
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


def test_an_alert_comes_to_alertmanager(
    containers_world: ContainerSession, platform: Platform, high_utiliser: Dataset
) -> None:
    """With the namespace, the service and the revision; who asks finds it where the run says."""
    platform.start(Part.METRICS)
    (address,) = (each.address for each in platform.backend.components() if each.name == "alertmanager")
    service = platform.deploy(platform.train(high_utiliser, max_depth=2, runner="local"))

    def alerts() -> list[dict[str, Any]]:
        with client(address) as http:
            found: list[dict[str, Any]] = http.get("/api/v2/alerts").json()
        return found

    assert alerts() == []
    with platform.load(service, rps=40):
        platform.backend.faults.inject(service.namespace, service.name, "v1", {"errors": 0.6})
        (alert,) = wait(alerts, what="an alert", deadline=Deadline.after(60), every_s=0.5)
    labels = {"alertname": "RehearsalRequestsFail", "service": service.name, "namespace": service.namespace}
    assert alert["labels"] == {**labels, "revision": "v1", "severity": "warning"}
