"""A recorded trace: when each request came and which body it had, from CSV or Parquet.

Columns: `timestamp` (seconds, or times as ISO 8601 writes them), in order, and `payload` (the number of a body, from 0)
if it has one. Times count from the first.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import UsageError
from harness.load.shapes import MOST_S, Piece, Shape

TIMESTAMP, PAYLOAD = "timestamp", "payload"
LEAST_SPEED, MOST_SPEED = 0.01, 100.0
_MOST_BODY = 2**31 - 1
Row = tuple[str, Any, Any]  # where it is, its timestamp, its payload


@dataclass(frozen=True)
class Trace:
    """Seconds since the first request, and the bodies' numbers; none of these if the trace does not say them."""

    seconds: array[float]
    payloads: array[int]


@dataclass(frozen=True)
class Replay(Shape):
    """What a trace recorded, `speed` times as fast; the seed and the arrivals change nothing."""

    kind: ClassVar[str] = "replay"
    allowed = {"speed": (LEAST_SPEED, MOST_SPEED)}
    trace: str = ""
    speed: float = 1.0

    @property
    def recorded(self) -> Trace:
        """The trace, read once; UsageError with the file and the line for one that is malformed."""
        return read(Path(self.trace).absolute())

    @property
    def duration_s(self) -> float:
        """To its last request, and a little: that one belongs to it."""
        return self.recorded.seconds[-1] / self.speed + 1e-6

    @property
    def mean_rps(self) -> float:
        return len(self.recorded.seconds) / max(1.0, self.duration_s)

    def pieces(self) -> tuple[Piece, ...]:
        """The mean rate of each second."""
        counts = [0] * (int(self.duration_s) + 1)
        for seconds in self.recorded.seconds:
            counts[int(seconds / self.speed)] += 1
        return tuple(Piece(1.0, count, count) for count in counts)

    def requests(self, seconds: float) -> float:
        return len(self.recorded.seconds)

    def times(self, counts: Iterable[float]) -> Iterator[float]:
        recorded = self.recorded.seconds
        for count in counts:
            if count >= len(recorded):
                return
            yield recorded[int(count)] / self.speed

    def body(self, sequence: int, bodies: int) -> int:
        payloads = self.recorded.payloads
        return payloads[sequence] if payloads else sequence % bodies

    def parameters(self) -> dict[str, Any]:
        return {"trace": str(Path(self.trace).absolute()), "speed": self.speed}

    def text(self) -> str:
        return f"replay:trace={self.trace},speed={self.speed:g}"

    def check_bodies(self, bodies: int) -> None:
        """UsageError for a trace that names a body that there is not."""
        for number, payload in enumerate(self.recorded.payloads):
            if payload >= bodies:
                raise UsageError(
                    f"{self.trace}: request {number + 1}: payload {payload}, but there are {bodies} bodies, from 0",
                    hint="give the bodies with payload=, or more held-out rows with rows=.",
                )


@cache
def read(path: Path) -> Trace:
    """A trace's file; UsageError with the file and the line, or row, for one that is malformed."""
    if not path.is_file():
        raise UsageError(f"{path}: no such trace", hint="give a CSV or Parquet file with a column timestamp.")
    rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    seconds, payloads = array("d"), array("i")
    for where, timestamp, payload in rows:
        at = _seconds(where, timestamp)
        if seconds and at < seconds[-1]:
            raise UsageError(
                f"{where}: timestamp: {timestamp} is earlier than the one before it", hint="sort the trace."
            )
        seconds.append(at)
        if payload is not None:
            payloads.append(_payload(where, payload))
    if not seconds:
        raise UsageError(f"{path}: the trace has no request")
    if seconds[-1] - seconds[0] > MOST_S:
        raise UsageError(f"{path}: the trace lasts {seconds[-1] - seconds[0]:g} s, at most {MOST_S:g} s are allowed")
    return Trace(array("d", (at - seconds[0] for at in seconds)), payloads)


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            names = [name.strip() for name in next(reader, [])]
            at, of = _columns(f"{path}:1", names)
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if len(row) != len(names):
                    raise UsageError(f"{where}: expected {len(names)} fields ({', '.join(names)}), got {len(row)}")
                yield where, row[at], None if of is None else row[of]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not Parquet: {error}") from error
    at, of = _columns(str(path), file.schema_arrow.names)
    wanted, row = [TIMESTAMP, *([PAYLOAD] if of is not None else [])], 0
    for batch in file.iter_batches(columns=wanted):
        columns = [batch.column(name).to_pylist() for name in wanted]
        for timestamp, *payload in zip(*columns, strict=True):
            row += 1
            yield f"{path}: row {row}", timestamp, payload[0] if payload else None
    assert at is not None


def _columns(where: str, names: list[str]) -> tuple[int, int | None]:
    """Where the two columns are; ConfigError if there is no timestamp."""
    if TIMESTAMP not in names:
        got = ", ".join(names) or "nothing"
        raise UsageError(f"{where}: expected a column timestamp, and payload if bodies are to be told; got {got}")
    return names.index(TIMESTAMP), names.index(PAYLOAD) if PAYLOAD in names else None


def _seconds(where: str, value: Any) -> float:
    try:
        return _finite(value) if isinstance(value, int | float) else _from_text(value)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: timestamp: expected seconds or an ISO 8601 time, got {value!r}") from None


def _from_text(value: Any) -> float:
    try:
        return _finite(float(value))
    except TypeError:  # a time of Parquet
        return _utc(value)
    except ValueError:
        return _utc(datetime.fromisoformat(value))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("not a time")
    return float(value)


def _utc(moment: Any) -> float:
    if not isinstance(moment, datetime):
        raise ValueError("not a time")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _payload(where: str, value: Any) -> int:
    number = str(value).strip()
    if not (number.isascii() and number.isdecimal() and int(number) <= _MOST_BODY):
        raise UsageError(f"{where}: payload: expected the number of a body, a whole number from 0, got {value!r}")
    return int(number)
