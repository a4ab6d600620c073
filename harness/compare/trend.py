"""The last runs in a row: each figure over time, and whether the newest is beyond what the ones before it predict.

A run's figure differs from the last run's for reasons that no single run shows: another machine, other neighbours. So
the newest is held against the spread of the runs before it, by the prediction interval of one further observation of a
normal distribution (Hahn 1969, "Factors for calculating two-sided prediction intervals"), on logarithms, as such
figures are spread by factors. The share of failed requests is held against how many failed before, of how many: it is 0
in most runs, and a logarithm would not know the difference between one failure and a thousand. All figures of a trend
share its error rate (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from harness.compare.intervals import next_share
from harness.compare.sample import probes
from harness.report.record import LoadRecord, RunRecord
from harness.report.store import finite

ERROR_RATE = 0.01
LEAST = 5  # runs before the newest, without which nothing is said
LEAST_SPREAD = 0.005  # of a logarithm: runs that are alike to the last digit do not promise that the next one is


class Value(NamedTuple):
    """A figure of one run (its time in Unix s); of a share of requests in percent, how many requests there were."""

    at: float
    value: float
    requests: int = 0


class Newest(StrEnum):
    """What is said of the newest run's figure."""

    HIGHER = "higher than before"
    LOWER = "lower than before"
    LIKE = "like before"
    FEW = "too few runs"


@dataclass(frozen=True)
class Figure:
    """One quantity of one kind of run: its values by the time of the run (Unix s), and the interval for the newest."""

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]
    low: float
    high: float
    newest: Newest


@dataclass(frozen=True)
class Track:
    """One kind of run (its title, and its backend where that is not the same everywhere), the oldest first."""

    title: str
    runs: tuple[str, ...]
    passed: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Trend:
    """All kinds of run that were found."""

    tracks: tuple[Track, ...]
    error_rate: float

    @property
    def moved(self) -> list[tuple[Track, Figure]]:
        """The figures whose newest value is beyond what was predicted."""
        beyond = (Newest.HIGHER, Newest.LOWER)
        return [(track, figure) for track in self.tracks for figure in track.figures if figure.newest in beyond]

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts; what nothing bounds is null."""
        data: dict[str, Any] = finite(asdict(self))
        return data


def trend(records: Sequence[RunRecord], *, last: int, error_rate: float = ERROR_RATE) -> Trend:
    """The last runs of each kind that has a load and was run at least twice."""
    kinds: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.started_at):
        if record.loads:
            kinds.setdefault(f"{record.title} ({record.backend})", []).append(record)
    several = {title: found[-last:] for title, found in kinds.items() if len(found) > 1}
    values = {title: _values(found) for title, found in several.items()}
    alpha = error_rate / max(1, sum(map(len, values.values())))
    tracks = [
        Track(
            title=title,
            runs=tuple(record.run_id for record in found),
            passed=sum(record.status.value == "passed" for record in found),
            figures=tuple(figure(name, unit, points, alpha) for (name, unit), points in values[title].items()),
        )
        for title, found in several.items()
    ]
    return Trend(tuple(tracks), error_rate)


def figure(name: str, unit: str, values: Sequence[Value], alpha: float) -> Figure:
    """A figure with what is said of its newest value."""
    low, high = _expected(values[:-1], values[-1], alpha)
    value = values[-1].value
    newest = (
        Newest.FEW if len(values) <= LEAST
        else Newest.HIGHER if value > high
        else Newest.LOWER if value < low
        else Newest.LIKE
    )  # fmt: skip
    return Figure(name, unit, tuple((each.at, each.value) for each in values), low, high, newest)


def _expected(before: Sequence[Value], newest: Value, alpha: float) -> tuple[float, float]:
    if not newest.requests:
        return predicted([each.value for each in before], alpha)
    if len(before) < LEAST:
        return 0.0, math.inf
    hits = [round(each.value / 100 * each.requests) for each in before]
    low, high = next_share(hits, [each.requests for each in before], newest.requests, alpha)
    return 100 * low, 100 * high


def predicted(before: Sequence[float], alpha: float) -> tuple[float, float]:
    """Where the next value lies but with probability alpha; everywhere if there are too few."""
    from scipy import stats

    if len(before) < LEAST:
        return 0.0, math.inf
    logs = [math.log(max(value, 1e-9)) for value in before]
    mean = sum(logs) / len(logs)
    spread = max(LEAST_SPREAD, math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)))
    reach = float(stats.t.isf(alpha / 2, len(logs) - 1)) * spread * math.sqrt(1 + 1 / len(logs))
    return math.exp(max(-700, mean - reach)), math.exp(min(700, mean + reach))


def _values(records: Sequence[RunRecord]) -> dict[tuple[str, str], list[Value]]:
    """Each figure that the newest run has: (name, unit) -> its values in the runs that have it."""
    found: dict[tuple[str, str], list[Value]] = {}
    for record in records:
        for name, unit, value, requests in _figures(record):
            found.setdefault((name, unit), []).append(Value(record.started_at, value, requests))
    newest = records[-1].started_at
    return {key: values for key, values in found.items() if values[-1].at == newest and len(values) > 1}


def _figures(record: RunRecord) -> Iterator[tuple[str, str, float, int]]:
    searched = probes(record)
    for search in record.capacity:
        if search.capacity_rps is not None:
            yield f"capacity of {search.service}", "1/s", search.capacity_rps, 0
    for name, load in _named([load for load in record.loads if load.name not in searched]).items():
        yield from ((f"{name}: {what}", unit, value, sent) for what, unit, value, sent in _of_load(load))
    yield "duration", "s", record.duration_s, 0
    if record.peak_memory_mb:
        yield "peak memory", "MB", record.peak_memory_mb, 0


def _of_load(load: LoadRecord) -> Iterator[tuple[str, str, float, int]]:
    if load.sent:
        yield "failed requests", "%", 100 * sum(each.failed for each in load.latency) / load.sent, load.sent
    if load.overall is not None and not load.distrust:
        yield from ((name, "ms", value, 0) for name, value in (
            ("p50", load.overall.p50_ms), ("p99", load.overall.p99_ms)) if value)  # fmt: skip


def _named(loads: Sequence[LoadRecord]) -> Mapping[str, LoadRecord]:
    """Loads by name, those of one name numbered."""
    found: dict[str, LoadRecord] = {}
    for load in loads:
        same = sum(name.partition(" (")[0] == load.name for name in found)
        found[load.name if not same else f"{load.name} ({same + 1})"] = load
    return found
