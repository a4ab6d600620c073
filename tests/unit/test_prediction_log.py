"""The prediction log on disk: what is committed stays, what is torn is no event, copies count once, labels join."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run_command
from harness.errors import DataError
from harness.prediction_log import compactor, job, parts, reader, wal
from harness.prediction_log.events import LABEL, REQUEST, RESPONSE, Event, Label
from harness.prediction_log.log import PredictionLog, Remembered


def event(kind: str, id_: str, body: Any, at: float = 1_000.0, service: str = "visits") -> Event:
    return Event(kind, "production", service, "v1", id_, at, json.dumps(body).encode())


def call(id_: str, rows: list[Any], predictions: list[Any], at: float = 1_000.0) -> list[Event]:
    asked = event(REQUEST, id_, {"instances": rows}, at)
    return [asked, event(RESPONSE, id_, {"predictions": predictions}, at + 0.1)]


def logged(folder: Path, events: list[Event]) -> PredictionLog:
    log = PredictionLog(folder)
    for each in events:
        log.offer(each)
    log.commit()
    return log


def test_what_was_committed_is_there_for_the_next_process(tmp_path: Path) -> None:
    events = call("a", [[1.5, 2]], [0.25])
    logged(tmp_path, events)

    assert PredictionLog(tmp_path).replayed == events


@pytest.mark.parametrize("cut", [1, 7, 9, 60])
def test_a_torn_tail_is_no_event_and_takes_none_with_it(tmp_path: Path, cut: int) -> None:
    events = call("a", [[1.5]], [0.25]) + call("b", [[2.5]], [0.5])
    logged(tmp_path, events)
    (segment,) = wal.segments(tmp_path)
    os.truncate(segment, len(b"".join(map(wal.encode, events))) - cut)

    assert PredictionLog(tmp_path).replayed == events[:3]


def test_a_record_that_the_disk_spoiled_ends_the_segment(tmp_path: Path) -> None:
    events = call("a", [[1.5]], [0.25])
    logged(tmp_path, events)
    (segment,) = wal.segments(tmp_path)
    content = bytearray(segment.read_bytes())
    content[len(wal.encode(events[0])) + 20] ^= 1
    segment.write_bytes(content)

    assert PredictionLog(tmp_path).replayed == events[:1]


def test_a_segment_that_was_made_beforehand_ends_at_its_last_record(tmp_path: Path) -> None:
    PredictionLog(tmp_path)
    wal.make_spare(tmp_path)
    events = call("a", [[1.5]], [0.25])
    log = logged(tmp_path, events)

    assert log._segment.path.stat().st_size == wal.SEGMENT_BYTES
    assert wal.read(log._segment.path) == events
    assert log.roll().stat().st_size == len(b"".join(map(wal.encode, events)))


def test_a_commit_that_fails_leaves_nothing_known_and_nothing_written(tmp_path: Path) -> None:
    """So a sender that was told to try again is not taken for a copy."""
    log = logged(tmp_path, call("a", [[1.5]], [0.25]))
    read_only = os.open(log._segment.path, os.O_RDONLY)
    writable, log._segment._file = log._segment._file, read_only
    second = call("b", [[2.5]], [0.5])
    assert all(log.offer(each) for each in second)

    with pytest.raises(OSError, match="Bad file"):
        log.commit()

    log._segment._file = writable
    assert all(log.offer(each) for each in second)
    log.commit()
    assert len(wal.read(log._segment.path)) == 4


def test_a_copy_of_an_event_is_known_also_after_it_became_parquet(tmp_path: Path) -> None:
    log = logged(tmp_path, call("a", [[1.5]], [0.25]))
    compactor.compact(tmp_path, log.roll(), keep_days=1e6)

    again = PredictionLog(tmp_path)

    assert again.replayed == []
    assert [again.offer(each) for each in call("a", [[1.5]], [0.25])] == [False, False]
    assert again.knows(Label("production", "visits", "a", 0.0, 1))
    assert not again.knows(Label("production", "other", "a", 0.0, 1))


def test_the_oldest_keys_are_forgotten() -> None:
    known = Remembered(most=2)
    for key in ("a", "b", "b", "c"):
        known.add(key)

    assert [key in known for key in "abc"] == [False, True, True]


def test_parquet_that_is_made_twice_is_the_same_part(tmp_path: Path) -> None:
    """A compactor that was killed between the part and the segment's end is repeated."""
    sealed = logged(tmp_path, call("a", [[1.5]], [0.25])).roll()
    content = sealed.read_bytes()
    compactor.compact(tmp_path, sealed, keep_days=1e6)
    sealed.write_bytes(content)
    compactor.compact(tmp_path, sealed, keep_days=1e6)

    assert len(parts.listed(tmp_path)) == 1
    assert len(reader.read(tmp_path, "production", "visits").frame) == 1


def test_parts_are_dropped_when_their_newest_event_is_too_old(tmp_path: Path) -> None:
    sealed = logged(tmp_path, call("a", [[1.5]], [0.25])).roll()
    compactor.compact(tmp_path, sealed, keep_days=1.0)

    assert parts.listed(tmp_path) == []


def test_requests_responses_and_labels_join_across_parts_and_the_write_ahead_log(tmp_path: Path) -> None:
    asked, answered = call("a", [[1.5, 2], {"x0": 3, "x1": None}], [0.25, 0.75])
    log = logged(tmp_path, [asked, event(LABEL, "a", [1, None])])
    compactor.compact(tmp_path, log.roll(), keep_days=1e6)
    for each in (answered, *call("b", [[5, 6]], [0.5], at=2_000.0), event(LABEL, "b", 0), event(LABEL, "b", 1)):
        log.offer(each)
    log.commit()

    frame = reader.read(tmp_path, "production", "visits", ["x0", "x1"]).frame

    assert frame[reader.ID].tolist() == ["a", "a", "b"]
    assert frame["x0"].tolist() == [1.5, 3, 5]
    assert frame[reader.PREDICTION].tolist() == [0.25, 0.75, 0.5]
    assert frame[reader.TARGET].fillna(-1).tolist() == [1, -1, 1]  # of two labels of a request the later counts


def test_what_does_not_join_is_counted(tmp_path: Path) -> None:
    failed = call("f", [[1]], [0.5])[0], event(RESPONSE, "f", {"error": "no"})
    lone = [event(REQUEST, "q", {"instances": [[1]]}), event(RESPONSE, "r", {"predictions": [1]})]
    logged(tmp_path, [*call("a", [[1]], [0.25]), *call("w", [[1, 2]], [0.25]), *failed, *lone])

    found = reader.read(tmp_path, "production", "visits", ["x0"])

    assert (len(found.frame), found.unanswered, found.unasked, found.unreadable) == (1, 1, 1, 2)


def test_a_window_is_cut_by_the_time_of_the_response(tmp_path: Path) -> None:
    logged(tmp_path, [*call("a", [[1]], [0.1], at=99.95), *call("b", [[2]], [0.2], at=150.0), *call("c", [[3]], [0.3])])

    found = reader.read(tmp_path, "production", "visits", since=100.0, until=200.0)

    assert found.frame[reader.ID].tolist() == ["a", "b"]
    assert found.unanswered == found.unasked == 0


def test_one_revisions_predictions_can_be_read_alone(tmp_path: Path) -> None:
    """A canary's rows beside its baseline's."""
    canary = [replace(each, revision="v2") for each in call("c", [[2]], [0.2])]
    logged(tmp_path, [*call("a", [[1]], [0.1]), *canary])
    found = reader.read(tmp_path, "production", "visits", revision="v2")
    assert found.frame[reader.ID].tolist() == ["c"]


def test_both_protocols_give_the_same_rows(tmp_path: Path) -> None:
    named = {"inputs": [{"name": "b", "shape": [1], "data": [2]}, {"name": "a", "shape": [1], "data": [1]}]}
    matrix = {"inputs": [{"name": "input-0", "shape": [1, 2], "data": [1, 2]}]}
    answer = {"outputs": [{"name": "o", "shape": [1], "data": [0.5]}]}
    events = [
        each
        for id_, body in (("n", named), ("m", matrix))
        for each in (event(REQUEST, id_, body), event(RESPONSE, id_, answer))
    ]
    logged(tmp_path, events)

    assert (
        reader.read(tmp_path, "production", "visits", ["a", "b"]).frame[["a", "b"]].to_numpy().tolist() == [[1, 2]] * 2
    )


def test_a_folder_without_a_log_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no prediction log in"):
        reader.read(tmp_path, "production", "visits")


def test_the_job_tells_quality_and_hands_labelled_rows_on(tmp_path: Path) -> None:
    import pandas as pd

    log = tmp_path / "log"
    events = [each for i in range(100) for each in call(str(i), [[i]], [i / 100], at=float(i))]
    events += [event(LABEL, str(i), int(i >= 50)) for i in range(90)]
    logged(log, events)
    out = tmp_path / "fresh.parquet"

    found = job.read(
        {"folder": str(log), "namespace": "production", "service": "visits", "features": ["age"], "window_s": 60,
         "export": {"path": str(out), "target": "high"}}
    )  # fmt: skip

    assert (found.rows, found.labelled) == (100, 90)
    assert [(window.rows, window.labelled) for window in found.windows] == [(60, 60), (40, 30)]
    assert found.windows[0].metrics[0].name == "auc"
    assert found.windows[0].metrics[0].value == 1.0
    assert math.isclose(found.windows[1].metrics[0].value, sum((1 - i / 100) ** 2 for i in range(60, 90)) / 30)
    assert pd.read_parquet(out).columns.tolist() == ["age", "high"]
    assert len(pd.read_parquet(out)) == 90


def test_the_command_reads_a_log_and_says_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    log, out = tmp_path / "log", tmp_path / "fresh.parquet"
    events = [each for i in range(40) for each in call(str(i), [[i, 1]], [i / 40], at=float(i))]
    logged(
        log, [*events, *(event(LABEL, str(i), int(i >= 20)) for i in range(40)), event(REQUEST, "z", {}, service="b")]
    )

    chosen = ["predictions", "--log", str(log), "--service", "production/visits"]
    assert run_command([*chosen, "--features", "age,dose", "--out", str(out), "--target", "high"]) == 0
    told = capsys.readouterr().out
    assert "production/visits: 40 rows predicted (v1: 40), 40 labelled" in told
    assert "auc 1.000 (1.000 to 1.000)" in told
    assert pd.read_parquet(out).columns.tolist() == ["age", "dose", "high"]

    assert run_command(["predictions", "--log", str(log)]) == 2
    assert "expected one of the log's services (production/b, production/visits)" in capsys.readouterr().err
    assert run_command(["predictions", "--log", str(tmp_path)]) == 2
    assert "has no prediction log" in capsys.readouterr().err
