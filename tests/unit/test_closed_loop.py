"""The closed loop's edge: labels that follow a load, traffic that shifts, and what is refused before it begins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from harness.errors import DataError, UsageError
from harness.lifecycle.loop import LoopPolicy
from harness.load import Load, LoadSpec
from harness.load.records import RECORD, LoadFiles, Recorder
from harness.load.shapes import Steady
from harness.loop import shifted
from harness.loop.closed_loop import require_reference
from harness.loop.truth import TruthFeed


class Log:
    def __init__(self) -> None:
        self.labels: dict[str, float] = {}

    def label(self, truth: dict[str, float]) -> dict[str, int]:
        self.labels |= truth
        return {"joined": len(truth), "unknown": 0}


def feed(recorded: list[int], truth: list[float], lag_s: float) -> tuple[TruthFeed, Log]:
    counts = iter(recorded)
    load: Any = SimpleNamespace(recorded=lambda: next(counts), load_id="ab", spec=SimpleNamespace(shape=Steady(10.0)))
    log: Any = Log()
    return TruthFeed(log, load, truth, lag_s=lag_s), log


def test_labels_follow_their_requests_by_the_lag_and_repeat_with_the_bodies() -> None:
    """Three requests of two bodies: the third has the first one's label again; nothing is told before the lag."""
    followed, log = feed([3, 5, 5], [0.0, 1.0], lag_s=2.0)
    followed.tell(10.0)
    assert log.labels == {}
    followed.tell(11.9)
    assert log.labels == {}
    followed.tell(12.0)
    assert log.labels == {"ab-0": 0.0, "ab-1": 1.0, "ab-2": 0.0}


def test_a_label_is_told_once() -> None:
    followed, log = feed([2, 2, 4], [1.0], lag_s=0.0)
    followed.tell(1.0)
    log.labels.clear()
    followed.tell(2.0)
    assert log.labels == {}
    followed.tell(3.0)
    assert sorted(log.labels) == ["ab-2", "ab-3"]


def test_a_load_says_how_many_requests_are_on_record(tmp_path: Path) -> None:
    """Of two processes the slower one counts: what is before it is there of both."""
    payload = tmp_path / "bodies.jsonl"
    payload.write_text("{}\n")
    spec = LoadSpec(
        name="l", url="http://127.0.0.1:1", host="h", path="/", payload=payload, shape=Steady(10.0), processes=2
    )
    load = Load(spec, tmp_path, spawner=None, access_log=None)  # type: ignore[arg-type]
    assert load.recorded() == 0
    for share, count in enumerate((5, 3)):
        recorder = Recorder(LoadFiles(tmp_path), share, 2)
        for number in range(count):
            recorder.write(share + 2 * number, 0, 0, 0, 200, "v1", 0)
        recorder.close()
    assert load.recorded() == 6
    assert LoadFiles(tmp_path).records(0).stat().st_size == 5 * RECORD.size


def heldout(folder: Path) -> dict[str, Any]:
    frame = pd.DataFrame({"a": range(10), "b": [float(n) for n in range(10)], "c": list("abcdefghij"), "y": [0, 1] * 5})
    frame.to_parquet(folder / "heldout.parquet")
    return {"heldout": str(folder / "heldout.parquet"), "features": ["a", "b", "c"], "target": "y", "seed": 1}


def test_the_shifted_world_has_the_same_people_with_some_columns_from_the_other_end(tmp_path: Path) -> None:
    """Truth stays with its row, and a fifth of the rows is in no request."""
    found = shifted.draw({**heldout(tmp_path), "reverse": ["a"]})
    assert [len(found["sent"]["usual"]), len(found["kept"]["usual"]), len(found["truth"])] == [8, 2, 8]
    for usual, other, truth in zip(found["sent"]["usual"], found["sent"]["shifted"], found["truth"], strict=True):
        assert (other[0], other[1:]) == (9 - usual[0], usual[1:])
        assert truth == usual[0] % 2
    together = found["sent"]["usual"] + found["kept"]["usual"]
    assert sorted(row[0] for row in together) == list(range(10))


@pytest.mark.parametrize("column", ["c", "nowhere"])
def test_a_column_that_cannot_be_reversed_is_refused_with_those_that_can(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match=f"reverse: '{column}' is not a column of numbers of the model; allowed: a, b$"):
        shifted.draw({**heldout(tmp_path), "reverse": [column]})


def test_too_few_fresh_rows_for_a_drift_reference_are_refused_with_the_number_that_is_enough() -> None:
    """A quarter of the rows is held out: of 911 that are needed, 3,644."""
    require_reference(LoopPolicy(fresh_rows=3_644), 911)
    with pytest.raises(UsageError, match=r"loop.fresh_rows: expected at least 3644 .*, got 3643"):
        require_reference(LoopPolicy(fresh_rows=3_643), 911)
