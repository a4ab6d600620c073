"""What a service predicted is kept, and joined with what turned out to be true."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from harness import Platform
from harness.backends.backend import Capability
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

CALLS = 120


def test_served_predictions_are_joined_with_labels_that_come_later(platform: Platform, high_utiliser: Dataset) -> None:
    """Each request's rows, its predictions and its label are one line; the quality is what the labels say it is."""
    if reason := platform.missing(Capability.PREDICTION_LOG):
        pytest.skip(reason)
    model = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(model)
    log = platform.prediction_log(service)
    drawn = platform.sample(model, [{"name": "calls", "rows": CALLS}])["calls"]
    ids = [service.client.ask([row]).request_id for row in drawn["rows"]]
    truth = {key: float(score >= 0.2) for key, score in zip(ids, drawn["offline"], strict=True)}

    wait(lambda: log.label(truth)["unknown"] == 0, what="all events", deadline=Deadline.after(30))
    unknown = log.label({"nobody": 1.0})
    found = log.read()
    fresh = platform.run.folder / "fresh.parquet"
    log.export(fresh, target="high")

    assert unknown == {"joined": 0, "unknown": 1}
    assert (found.rows, found.labelled, found.unanswered, found.unasked) == (CALLS, CALLS, 0, 0)
    assert {metric.name: metric.value for metric in found.windows[-1].metrics}["auc"] == 1.0
    assert list(pd.read_parquet(fresh).columns) == [*model.features, "high"]
    assert platform.run.record.predictions == [found]


def test_windows_of_served_traffic_are_judged_against_the_versions_own_reference(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """People in poor health come: the next window is drift, by the reference that MLflow has of the version."""
    if reason := platform.missing(Capability.PREDICTION_LOG):
        pytest.skip(reason)
    model = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(model)
    watch = platform.watch_drift(service, window_s=3.0, grace_s=1.0, pages=False)
    drawn = platform.sample(
        model, [{"name": "usual", "rows": 800}, {"name": "poor", "rows": 800, "where": "poor_health == 1"}]
    )
    service.predict(drawn["usual"]["rows"])
    wait(lambda: watch.records(), what="a judged window", deadline=Deadline.after(30))
    shifted_at = time.time()
    service.predict(drawn["poor"]["rows"])
    drifted = watch.wait_drifted(after=shifted_at)
    watch.note()
    if not platform.missing(Capability.METRICS):
        alarm = f'rehearsal_drift_detected{{service="{service.name}",kind="data"}} == 1'
        wait(lambda: platform.query(alarm), what="the alarm in Prometheus", deadline=Deadline.after(30))

    assert not watch.records()[0].drifted
    assert {"health_poor", "prediction"} <= {column.column for column in drifted.columns if column.drifted}
    assert drifted.rows >= watch.needed
    assert platform.run.record.drift[-1].end == drifted.end
