"""Somebody is told, and told again when it is over."""

from __future__ import annotations

from harness import Platform
from harness.backends.backend import Capability
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

BURN = "RehearsalErrorBudgetBurn"


def test_a_revision_that_fails_is_told_and_its_end_as_well(platform: Platform, high_utiliser: Dataset) -> None:
    """By the fastest of the budget's windows, with the revision's name; while it is healthy nobody is told of it."""
    platform.require(Capability.ALERTS)
    alerts = platform.alerts
    service = platform.deploy(platform.train(high_utiliser, max_depth=2))
    faults, where = platform.backend.faults, (service.namespace, service.name, "v1")
    labels = {"namespace": service.namespace, "service": service.name, "revision": "v1", "window": "30s"}
    with platform.load(service, rps=40):
        wait(
            lambda: sum(count.requests for count in service.counts(100)) >= 80,
            what="requests", deadline=Deadline.after(60), every_s=0.2,
        )  # fmt: skip
        assert alerts.firing(BURN, service=service.name) == []
        faults.inject(*where, {"errors": 0.6})
        alert = alerts.wait(BURN, Deadline.after(60), **labels)
        faults.clear(*where)
        ended = alerts.wait_resolved(alert, Deadline.after(60))
    assert alert.severity == "critical"
    assert "requests to revision v1" in alert.description
    assert ended.resolved_at is not None
    assert ended.resolved_at > alert.started_at
