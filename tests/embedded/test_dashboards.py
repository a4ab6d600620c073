"""Every query of every panel has an answer: in a run that has all that they show."""

from __future__ import annotations

import json
import re
import time

import pytest

from harness import Platform
from harness._prediction_log import PredictionLog
from harness.backends.backend import Capability
from harness.dashboards.provisioning import dashboard_files
from harness.errors import RequestFailed
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Outcome
from harness.lifecycle.slo import SLO
from harness.monitoring import panels
from harness.report.record import SeriesRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service

LENIENT = SLO(errors=0.2, slower_than_ms=1000, slow=0.3)
LABELS = 60
FAULT = {"errors": 0.6, "delay_ms": {"distribution": "constant", "ms": 200}}
"""So slow that some request is under way whenever Prometheus looks."""
NOTHING_HAPPENED = ("Commits that the disk refused",)


def test_every_panel_of_every_dashboard_has_an_answer(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary under load, a drift watch, labels that come, a revision that fails: then all of them have something."""
    platform.require(Capability.ALERTS)
    alerts = platform.alerts
    v1, v2 = (platform.train(high_utiliser, max_depth=depth) for depth in (2, 4))
    service = platform.deploy(v1)
    log = platform.prediction_log(service)
    watch = platform.watch_drift(service, window_s=3.0, grace_s=1.0, pages=False)
    samples = [{"name": "usual", "rows": LABELS}, {"name": "poor", "rows": 800, "where": "poor_health == 1"}]
    drawn = platform.sample(v1, samples)
    with platform.load(service, rps=40):
        label(service, log, drawn["usual"]["rows"])
        service.predict(drawn["poor"]["rows"])
        watch.wait_drifted()
        crash(platform, service)
        assert service.canary(v2, steps=(50, 100), slo=LENIENT).outcome is Outcome.PROMOTED
        platform.backend.faults.inject(service.namespace, service.name, service.revision, FAULT)
        alerts.wait("RehearsalErrorBudgetBurn", Deadline.after(60), service=service.name)
        wait(lambda: not silent(platform, service), what="all panels", deadline=Deadline.after(30), every_s=0.5,
             state=lambda: f"without an answer: {silent(platform, service)}")  # fmt: skip
    for query in variable_queries(service):
        assert platform.query(query), query

    platform.close()
    assert [each.name for each in platform.run.record.series if not says_something(each)] == []


def test_a_query_that_prometheus_refuses_is_named_with_its_dashboard_and_panel(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.require(Capability.ALERTS)
    assert platform.alerts.records() == []
    monkeypatch.setattr("harness.monitoring.RATE_WINDOW", "no duration")
    with pytest.raises(RequestFailed, match="Model performance: Time in the model, 99th percentile: "):
        panels(platform.backend, [("production", "visits")], time.time() - 10, time.time())


def label(service: Service, log: PredictionLog, rows: list[list[float]]) -> None:
    """Ask for some predictions, and say what came true."""
    truth = {service.client.ask([row]).request_id: float(at % 2) for at, row in enumerate(rows)}
    wait(lambda: log.label(truth)["unknown"] == 0, what="all events", deadline=Deadline.after(30))


def crash(platform: Platform, service: Service) -> None:
    """End the service's replica, and wait for the next one."""
    faults, where = platform.backend.faults, (service.namespace, service.name, service.revision)
    (first,) = faults.replicas(*where)
    faults.kill(first.pid)

    def again() -> bool:
        return any(each.pid not in (0, first.pid) for each in faults.replicas(*where))

    wait(again, what="another replica", deadline=Deadline.after(30))


def silent(platform: Platform, service: Service) -> list[str]:
    """The panels without an answer so far, or with nothing but 0 where something has happened."""
    return [f"{each.dashboard}: {each.name}" for each in recorded(platform, service) if not says_something(each)]


def says_something(panel: SeriesRecord) -> bool:
    values = [value for points in panel.points.values() for _, value in points]
    return any(values) or (panel.name in NOTHING_HAPPENED and bool(values))


def recorded(platform: Platform, service: Service) -> list[SeriesRecord]:
    return panels(platform.backend, [(service.namespace, service.name)], platform.run.record.started_at, time.time())


def variable_queries(service: Service) -> list[str]:
    """What the choices of Grafana's variables are read from, as queries that Prometheus itself knows."""
    found = []
    for text in dashboard_files().values():
        for variable in json.loads(text)["templating"]["list"]:
            if values := re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("query", "")):
                chosen = values[1].replace("$namespace", service.namespace).replace("$service", service.name)
                found.append(f"count by ({values[2]}) ({chosen})")
    return found
