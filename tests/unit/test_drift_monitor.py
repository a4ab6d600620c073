"""The drift monitor over a real prediction log: what it judges, what it cannot, what it tells Prometheus."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import generate_latest

from harness.errors import DataError
from harness.lifecycle.reference import calibrate, require
from harness.prediction_log import compactor
from harness.prediction_log.events import LABEL, REQUEST, RESPONSE, Event
from harness.prediction_log.log import PredictionLog
from harness.prediction_log.monitor import Monitor
from harness.report.record import DriftRecord

LENGTH_S = 100.0
PLACE = 'namespace="production",service="visits"'


class Rig:
    """A log that is written, and the files of its monitor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = PredictionLog(folder / "log")
        self.rng = np.random.default_rng(3)
        self.calls = 0
        reference = self.rows(4_000)
        reference["label"] = (self.rng.random(4_000) < reference["prediction"]).astype(float)
        reference.to_parquet(folder / "reference.parquet")
        found, self.needed, self.labels = calibrate(reference, {"false_alarms_per_day": 0.1, "looks_per_day": 24}, None)
        (folder / "calibration.json").write_text(json.dumps(asdict(found)))
        self.configure()

    def configure(self, **changed: Any) -> None:
        service = {
            "namespace": "production", "service": "visits", "features": ["age", "dose"],
            "reference": str(self.folder / "reference.parquet"),
            "calibration": str(self.folder / "calibration.json"), **changed,
        }  # fmt: skip
        plan = {"length_s": LENGTH_S, "step_s": 0.0, "grace_s": 5.0}
        config = {"log": str(self.folder / "log"), "out": str(self.folder / "out"), "plan": plan, "pages": False}
        (self.folder / "drift.json").write_text(json.dumps({**config, "services": [service]}))

    def rows(self, rows: int, *, shift: float = 0.0) -> pd.DataFrame:
        age = self.rng.normal(shift, 1.0, rows)
        frame = pd.DataFrame({"age": age, "dose": self.rng.normal(0.0, 1.0, rows)})
        return frame.assign(prediction=1 / (1 + np.exp(-age)))

    def serve(self, frame: pd.DataFrame, at: float, *, revision: str = "v1", truth: np.ndarray | None = None) -> None:
        """One call with all rows."""
        self.calls += 1
        asked = {"instances": frame[["age", "dose"]].to_numpy().tolist()}
        answered = {"predictions": frame["prediction"].tolist()}
        said = [(REQUEST, asked), (RESPONSE, answered), *([(LABEL, truth.tolist())] if truth is not None else [])]
        for kind, body in said:
            event = Event(kind, "production", "visits", revision, str(self.calls), at, json.dumps(body).encode())
            self.log.offer(event)
        self.log.commit()

    def monitor(self, began: float = 0.0) -> Monitor:
        return Monitor(self.folder / "drift.json", began)

    def verdicts(self) -> list[DriftRecord]:
        found = sorted((self.folder / "out/production/visits").glob("*.json"), key=lambda path: float(path.stem))
        return [DriftRecord.model_validate_json(path.read_text()) for path in found]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def series(monitor: Monitor) -> dict[str, float]:
    lines = generate_latest(monitor.series.registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_windows_are_judged_as_they_end_and_told_to_prometheus(rig: Rig) -> None:
    rig.serve(rig.rows(600), 50.0)
    monitor = rig.monitor()
    assert monitor.look(104.9) == 105.0
    assert rig.verdicts() == []
    monitor.look(105.0)
    assert series(monitor)[f'rehearsal_drift_detected{{kind="data",{PLACE}}}'] == 0
    rig.serve(rig.rows(600, shift=0.6), 150.0)
    monitor.look(205.0)

    usual, shifted = rig.verdicts()
    assert (usual.drifted, usual.start, usual.end, usual.rows) == (False, 0.0, 100.0, 600)
    assert {column.column for column in shifted.columns if column.drifted} == {"age", "prediction"}
    told = series(monitor)
    assert told[f'rehearsal_drift_detected{{kind="data",{PLACE}}}'] == 1
    assert told[f'rehearsal_drift_detected{{kind="prediction",{PLACE}}}'] == 1
    assert told[f'rehearsal_drift_detected{{kind="quality",{PLACE}}}'] == 0
    score, limit = (
        told[f'rehearsal_drift_{name}{{feature="age",kind="data",{PLACE}}}'] for name in ("score", "threshold")
    )
    assert 0 <= score <= limit < 0.01
    assert told[f"rehearsal_drift_window_rows{{{PLACE}}}"] == 600
    assert told[f"rehearsal_drift_window_end_timestamp_seconds{{{PLACE}}}"] == 150.0


def test_a_monitor_that_was_started_again_judges_no_window_twice(rig: Rig) -> None:
    rig.serve(rig.rows(600), 50.0)
    rig.monitor().look(105.0)
    (path,) = (rig.folder / "out/production/visits").glob("*.json")
    written = path.stat().st_mtime_ns
    rig.monitor().look(190.0)

    assert path.stat().st_mtime_ns == written
    assert len(rig.verdicts()) == 1


def test_a_window_that_is_too_small_says_how_many_rows_it_needs(rig: Rig) -> None:
    rig.serve(rig.rows(50), 50.0)
    monitor = rig.monitor()
    monitor.look(105.0)

    (path,) = (rig.folder / "out/production/visits").glob("*.unjudged")
    told = json.loads(path.read_text())
    assert told["rows"] == 50
    assert f"has 50 rows, too few to judge: {rig.needed} are needed" in told["why"]
    name = 'rehearsal_drift_windows_total{namespace="production",outcome="unjudged",service="visits"}'
    assert series(monitor)[name] == 1


def test_labels_that_come_late_are_judged_with_a_later_window(rig: Rig) -> None:
    """Labels that the prediction says nothing of: quality drifts, the data do not."""
    rig.serve(rig.rows(600), 50.0, truth=(rig.rng.random(600) < 0.5).astype(float))
    rig.serve(rig.rows(600), 150.0)
    monitor = rig.monitor(began=100.0)
    monitor.look(205.0)

    (record,) = rig.verdicts()
    assert [column.column for column in record.columns if column.drifted] == ["(quality)"]
    told = series(monitor)
    assert told[f'rehearsal_drift_detected{{kind="quality",{PLACE}}}'] == 1
    assert 0.3 < told[f'rehearsal_prediction_quality{{metric="auc",{PLACE}}}'] < 0.7


def test_after_a_promotion_only_the_new_revisions_rows_are_judged(rig: Rig) -> None:
    monitor = rig.monitor(began=100.0)
    rig.configure(revision="v2")
    rig.serve(rig.rows(600, shift=2.0), 150.0, revision="v1")
    rig.serve(rig.rows(600), 160.0, revision="v2")
    monitor.look(205.0)

    (record,) = rig.verdicts()
    assert (record.rows, record.drifted) == (600, False)


def test_a_reference_without_a_feature_is_refused_by_name() -> None:
    reference = pd.DataFrame({"age": [1.0], "prediction": [0.5]})
    with pytest.raises(DataError, match="reference of visits v3 lacks 'dose' of the model's columns"):
        require(reference, ["age", "dose"], "visits v3")


def test_a_reference_that_is_too_small_says_so(rig: Rig) -> None:
    with pytest.raises(DataError, match=r"has 100 rows, too few to find a shift of 0\.2"):
        calibrate(rig.rows(100), {"false_alarms_per_day": 0.1, "looks_per_day": 24}, None)


def test_a_file_of_the_log_that_cannot_be_read_is_named_and_ends_nothing(rig: Rig) -> None:
    rig.serve(rig.rows(600), 50.0)
    compactor.compact(rig.folder / "log", rig.log.roll(), keep_days=1e6)
    (part,) = (rig.folder / "log/parts").glob("*.parquet")
    part.write_bytes(b"not Parquet")
    monitor = rig.monitor()
    monitor.look(105.0)
    rig.serve(rig.rows(600), 10_050.0)
    monitor.look(10_105.0)

    (path,) = (rig.folder / "out/production/visits").glob("100.000.unjudged")
    assert f"{part} cannot be read" in json.loads(path.read_text())["why"]
    assert rig.verdicts()[-1].end == 10_100.0
