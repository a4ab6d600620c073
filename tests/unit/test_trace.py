"""A recorded trace: what is replayed, and what is said of a file that is none."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import ConfigError, UsageError
from harness.load import LoadSpec
from harness.load.arrivals import due_times
from harness.load.trace import Replay, read

GOOD = "timestamp,payload\n100.0,3\n100.5,1\n100.5,0\n102.25,1\n"


def written(folder: Path, text: str, name: str = "trace.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_replay_sends_each_request_at_its_time_with_its_body(tmp_path: Path) -> None:
    """Times count from the first; twice as fast is half the time; shares take turns."""
    replay = Replay(written(tmp_path, GOOD))
    assert list(due_times("constant", replay)) == [0.0, 0.5, 0.5, 2.25]
    assert list(due_times("constant", replay, 0, 1, 2)) == [0.5, 2.25]
    assert [replay.body(number, 5) for number in range(4)] == [3, 1, 0, 1]
    fast = Replay(replay.trace, speed=2)
    assert list(due_times("constant", fast)) == [0.0, 0.25, 0.25, 1.125]
    assert fast.duration_s == pytest.approx(1.125, abs=1e-5)
    assert [piece.low for piece in replay.pieces()] == [3, 0, 1]


def test_a_trace_without_bodies_sends_them_in_turn(tmp_path: Path) -> None:
    """ISO times, with and without a zone; other columns are left alone."""
    text = "user,timestamp\nann,2026-11-30T10:00:00\nbob,2026-11-30T10:00:01.5+00:00\n"
    replay = Replay(written(tmp_path, text))
    assert list(due_times("constant", replay)) == [0.0, 1.5]
    assert [replay.body(number, 2) for number in range(4)] == [0, 1, 0, 1]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    """Numbers, or times of Parquet's own."""
    began = datetime(2026, 11, 30)
    for stamps in ([1.0, 1.5, 4.0], [began + timedelta(seconds=after) for after in (0, 0.5, 3.0)]):
        pq.write_table(pa.table({"timestamp": stamps, "payload": [2, 0, 1]}), tmp_path / "trace.parquet")
        read.cache_clear()
        replay = Replay(str(tmp_path / "trace.parquet"))
        assert list(due_times("constant", replay)) == [0.0, 0.5, 3.0]
        assert [replay.body(number, 3) for number in range(3)] == [2, 0, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "trace.csv:1: expected a column timestamp, and payload if bodies are to be told; got nothing"),
        ("time,payload\n1,2\n", "trace.csv:1: expected a column timestamp"),
        ("timestamp\n", "trace.csv: the trace has no request"),
        ("timestamp\n1.0\nnoon\n", "trace.csv:3: timestamp: expected seconds or an ISO 8601 time, got 'noon'"),
        ("timestamp\n1.0\nnan\n", "trace.csv:3: timestamp: expected seconds or an ISO 8601 time, got 'nan'"),
        ("timestamp\n2.0\n1.0\n", "trace.csv:3: timestamp: 1.0 is earlier than the one before it"),
        ("timestamp,payload\n1.0,-1\n", "trace.csv:2: payload: expected the number of a body, a whole number from 0"),
        ("timestamp,payload\n1.0,a\n", "trace.csv:2: payload: expected the number of a body"),
        ("timestamp,payload\n1.0,1\n1.5\n", "trace.csv:3: expected 2 fields (timestamp, payload), got 1"),
        ("timestamp\n0\n90000\n", "trace.csv: the trace lasts 90000 s, at most 86400 s are allowed"),
    ],
)
def test_a_malformed_trace_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Replay(written(tmp_path, text))
    assert words in str(caught.value)


def test_what_is_no_trace_at_all(tmp_path: Path) -> None:
    """No file, bytes that are no text, a Parquet file that is none or has no timestamp, a row that is wrong."""
    with pytest.raises(UsageError, match=r"gone.csv: no such trace"):
        Replay(str(tmp_path / "gone.csv"))
    (tmp_path / "bytes.csv").write_bytes(b"timestamp\n\xff\xfe\n")
    with pytest.raises(UsageError, match=r"bytes.csv:\d: not CSV"):
        Replay(str(tmp_path / "bytes.csv"))
    with pytest.raises(UsageError, match=r"text.parquet: not Parquet"):
        Replay(written(tmp_path, "timestamp\n1\n", "text.parquet"))
    pq.write_table(pa.table({"timestamp": [1.0, None]}), tmp_path / "hole.parquet")
    with pytest.raises(UsageError, match=r"hole.parquet: row 2: timestamp: expected seconds"):
        Replay(str(tmp_path / "hole.parquet"))
    with pytest.raises(ConfigError, match=r"load.shape: replay.speed: expected a number from 0.01 to 100, got 0"):
        Replay(written(tmp_path, GOOD), speed=0)


def test_a_load_refuses_a_trace_that_it_cannot_send(tmp_path: Path) -> None:
    """A body that there is not, Poisson arrivals, a trace that is longer than the load may last."""
    payload = tmp_path / "payload.jsonl"
    payload.write_text("{}\n{}\n{}\n{}\n")
    fields = {"name": "a", "url": "http://x", "host": "h", "path": "/v1", "payload": payload}
    replay = Replay(written(tmp_path, GOOD))
    assert LoadSpec(**fields, shape=replay).shape is replay  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"load.arrivals: a replay has the arrivals of its trace, not poisson ones"):
        LoadSpec(**fields, shape=replay, arrivals="poisson")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"replay lasts 2.25 s, but the load may last 2 s"):
        LoadSpec(**fields, shape=replay, max_s=2)  # type: ignore[arg-type]
    payload.write_text("{}\n{}\n{}\n")
    with pytest.raises(UsageError, match=r"trace.csv: request 1: payload 3, but there are 3 bodies, from 0"):
        LoadSpec(**fields, shape=replay)  # type: ignore[arg-type]
