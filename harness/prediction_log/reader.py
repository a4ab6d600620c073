"""Reads the log: requests, responses and labels joined by id, a line a predicted row. Heavy: pandas, pyarrow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.components.answers import predictions_of
from harness.errors import DataError
from harness.prediction_log import parts, wal
from harness.prediction_log.events import LABEL, REQUEST, RESPONSE
from harness.prediction_log.payloads import features_of, rows_of

if TYPE_CHECKING:
    import pandas as pd

PREDICTION, TARGET = "prediction", "label"
ID, AT, REVISION = "event_id", "event_at", "event_revision"
"""Columns beside the features; a feature may not be called so."""
MARGIN_S = 120.0
"""A request is looked for so long before its response."""


@dataclass(frozen=True)
class Predictions:
    """What a service predicted in a span of time.

    `frame` has ID, AT (Unix seconds), REVISION, the features, PREDICTION and TARGET (NaN: no label yet), by time.
    `unanswered` requests have no response, `unasked` responses no request, `unreadable` calls are of other
    columns, or failed.
    """

    frame: pd.DataFrame
    unanswered: int
    unasked: int
    unreadable: int

    @property
    def labelled(self) -> int:
        return int(self.frame[TARGET].notna().sum())


@dataclass
class _Call:
    at: float = math.nan
    revision: str = ""
    request: str | None = None
    response: str | None = None
    labels: list[float] = field(default_factory=list)


Fact = tuple[str, str, float, str, str]
"""Kind, id, time, revision, body."""


def read(
    folder: Path,
    namespace: str,
    service: str,
    features: Sequence[str] | None = None,
    *,
    since: float = -math.inf,
    until: float = math.inf,
    revision: str | None = None,
) -> Predictions:
    """What was predicted, by one revision or by all, from `since` up to, not including, `until` (Unix seconds, of the
    response).

    Without `features` they are what the first request says. Of copies of an event the first counts, of several labels
    of one request the last. Errors: DataError if there is no
    log in the folder, or a feature has one of the names above.
    """
    _require_log(folder)
    calls = _joined(_facts(folder, namespace, service, since - MARGIN_S))
    if features is None:
        features = next(filter(None, (features_of(call.request) for call in calls.values() if call.request)), [])
    if taken := sorted({ID, AT, REVISION, PREDICTION, TARGET} & set(features)):
        raise DataError(f"A feature may not be called {taken[0]!r} in a prediction log.")
    within = {
        key: call for key, call in calls.items() if since <= call.at < until and revision in (None, call.revision)
    }
    return _predictions(within, features)


def services(folder: Path) -> list[tuple[str, str]]:
    """(namespace, service) of all that a log has something of."""
    found = {(event.namespace, event.service) for segment in wal.segments(folder) for event in wal.read(segment)}
    for part in parts.listed(folder):
        table = parts.events(part.path, columns=("namespace", "service"))
        found |= set(zip(table["namespace"].to_pylist(), table["service"].to_pylist(), strict=True))
    return sorted(found)


def requests(folder: Path, namespace: str, service: str, since: float = -math.inf) -> Iterator[str]:
    """The body of each request that was logged from `since` (Unix seconds) on; errors as `read`."""
    _require_log(folder)
    asked = {id_: (at, body) for kind, id_, at, _, body in _facts(folder, namespace, service, since) if kind == REQUEST}
    yield from (body for at, body in asked.values() if at >= since)


def _require_log(folder: Path) -> None:
    if not (folder / parts.FOLDER).is_dir():
        raise DataError(
            f"There is no prediction log in {folder}.", hint="It is the folder that its collector was given."
        )


def _facts(folder: Path, namespace: str, service: str, since: float) -> Iterator[Fact]:
    """Events that may matter, in the order in which they came."""
    recent = {wal.number(segment): wal.read(segment) for segment in wal.segments(folder)}
    known = parts.listed(folder)
    for part in known:
        if part.last >= since:
            yield from _facts_of(part.path, namespace, service)
    for part in known:  # it became Parquet meanwhile
        recent.pop(part.number, None)
    for event in chain.from_iterable(recent.values()):
        if (event.namespace, event.service) == (namespace, service):
            yield event.kind, event.id, event.at, event.revision, event.body.decode(errors="replace")


def _facts_of(path: Path, namespace: str, service: str) -> Iterable[Fact]:
    import pyarrow.compute as pc

    try:
        table = parts.events(path)
    except FileNotFoundError:  # it was too old to be kept
        return
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(
            f"The prediction log's {path} cannot be read: {str(error).splitlines()[0]}",
            hint="Restore the file, or move it away: its events are missing then, all others are read.",
        ) from error
    table = table.filter(pc.and_(pc.equal(table["namespace"], namespace), pc.equal(table["service"], service)))
    at = pc.divide(pc.cast(pc.cast(table["at"], "int64"), "float64"), 1e6)
    columns = (table["kind"], table["id"], at, table["revision"], table["body"])
    yield from zip(*(column.to_pylist() for column in columns), strict=True)


def _joined(facts: Iterable[Fact]) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}
    for kind, id_, at, revision, body in facts:
        call = calls.setdefault(id_, _Call())
        if kind == RESPONSE and call.response is None:
            call.response, call.at, call.revision = body, at, revision or call.revision
        elif kind == REQUEST and call.request is None:
            call.request, call.revision = body, call.revision or revision
            call.at = at if math.isnan(call.at) else call.at
        elif kind == LABEL:
            call.labels = _numbers(json.loads(body))
    return calls


def _predictions(calls: Mapping[str, _Call], features: Sequence[str]) -> Predictions:
    import pandas as pd

    lines: list[list[Any]] = []
    unanswered = unasked = unreadable = 0
    for id_, call in sorted(calls.items(), key=lambda item: (item[1].at, item[0])):
        if call.response is None or call.request is None:
            unanswered += call.response is None and call.request is not None
            unasked += call.request is None and call.response is not None
            continue
        rows, predicted = rows_of(call.request, features), predictions_of(call.response)
        if not rows or len(rows) != len(predicted):
            unreadable += 1
            continue
        labels = call.labels if len(call.labels) == len(rows) else [math.nan] * len(rows)
        lines += [
            [id_, call.at, call.revision, *row, prediction, label]
            for row, prediction, label in zip(rows, predicted, labels, strict=True)
        ]
    frame = pd.DataFrame(lines, columns=[ID, AT, REVISION, *features, PREDICTION, TARGET])
    return Predictions(frame.astype({AT: float, PREDICTION: float, TARGET: float}), unanswered, unasked, unreadable)


def _numbers(value: Any) -> list[float]:
    return [math.nan if each is None else float(each) for each in (value if isinstance(value, list) else [value])]
