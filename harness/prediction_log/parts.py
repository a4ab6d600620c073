"""Parquet of the log: a part a segment, named by the times in it so that a reader opens only what it needs.

Heavy: pyarrow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.prediction_log import wal
from harness.prediction_log.events import Event

FOLDER = "parts"
SCHEMA = pa.schema(
    [
        ("kind", pa.dictionary(pa.int8(), pa.string())),
        ("namespace", pa.dictionary(pa.int32(), pa.string())),
        ("service", pa.dictionary(pa.int32(), pa.string())),
        ("revision", pa.dictionary(pa.int32(), pa.string())),
        ("id", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("body", pa.string()),
    ]
)
_NAME = re.compile(r"(\d+)-(-?\d+)-(-?\d+)\.parquet").fullmatch


@dataclass(frozen=True)
class Part:
    """A Parquet file of events from `first` to `last` (Unix seconds), which was the segment `number`."""

    path: Path
    number: int
    first: float
    last: float


def listed(folder: Path) -> list[Part]:
    """All parts, in the order in which their events came."""
    found = [(path, _NAME(path.name)) for path in (folder / FOLDER).glob("*.parquet")]
    parts = [Part(path, int(m[1]), int(m[2]) / 1000, (int(m[3]) + 1) / 1000) for path, m in found if m]
    return sorted(parts, key=lambda part: part.number)


def write(folder: Path, segment: Path) -> Path | None:
    """Make a part of a sealed segment and drop the segment; None if it was empty. The same again changes nothing."""
    events = wal.read(segment)
    target = None
    if events:
        times = [int(event.at * 1000) for event in events]
        target = folder / FOLDER / f"{wal.number(segment)}-{min(times)}-{max(times)}.parquet"
        beside = target.with_suffix(".tmp")
        pq.write_table(_table(events), beside, compression="zstd")
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.rename(target)
        wal.sync_folder(target.parent)
    segment.unlink(missing_ok=True)
    return target


def events(path: Path, *, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """A part's events."""
    return pq.read_table(path, columns=list(columns), partitioning=None)


def keys(part: Part) -> Iterator[str]:
    """The keys of a part's events, in the order in which they came."""
    table = events(part.path, columns=("kind", "namespace", "service", "id"))
    return map("/".join, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _table(found: Sequence[Event]) -> pa.Table:
    return pa.table(
        {
            "kind": [event.kind for event in found],
            "namespace": [event.namespace for event in found],
            "service": [event.service for event in found],
            "revision": [event.revision for event in found],
            "id": [event.id for event in found],
            "at": pa.array([round(event.at * 1e6) for event in found], pa.int64()).cast(pa.timestamp("us", tz="UTC")),
            "body": [event.body.decode(errors="replace") for event in found],
        }
    ).cast(SCHEMA)
