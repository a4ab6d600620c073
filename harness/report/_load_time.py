"""A load over time: charts that share one axis, from the load's begin to its end, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harness.report._rollout_view import began, weight
from harness.report.plots import Axis, Line, Mark, chart
from harness.report.record import LoadRecord, LoadTimeline, RolloutRecord, RunRecord, ScalingRecord

POINTS = 600  # of one line, shared by the loads of a page: more than a screen shows, and the page stays small
LEAST_POINTS = 60
ROWS = 60
LATENCIES = (("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("longest", "max_ms"))

Points = list[tuple[float, float]]
Column = TypeVar("Column")


@dataclass(frozen=True)
class Story:
    """One load with what else happened while it ran, in the run that it belongs to; `most`: points of a line."""

    load: LoadRecord
    timeline: LoadTimeline
    rollouts: tuple[RolloutRecord, ...]
    scaling: tuple[ScalingRecord, ...]
    keys: Mapping[str, int]
    most: int = POINTS

    @property
    def time(self) -> Axis:
        """To the load's end, or on to the last look at the replicas, which are fewer again only after it."""
        looked = (look.at_s for each in self.scaling for look in each.looks[-1:])
        return Axis("time", "s", ends=(0.0, max(self.load.duration_s, float(self.timeline.step_s), *looked)))

    @property
    def end(self) -> list[Mark]:
        """The load's end, where the axis goes on after it."""
        ends = self.time.ends
        return [Mark(self.load.duration_s, "load ends")] if ends and ends[1] > 1.02 * self.load.duration_s else []

    @property
    def weights(self) -> list[Mark]:
        """The rollout's steps, which began while the load ran."""
        found = [
            Mark(step.started_at - self.load.started_at, weight(step.percent))
            for rollout in self.rollouts
            for step in rollout.steps
        ]
        return [mark for mark in found if 0 <= mark.at <= self.load.duration_s]


def story(record: RunRecord, load: LoadRecord, keys: Mapping[str, int]) -> Story | None:
    """What there is to draw of a load; None for one without a timeline."""
    if load.timeline is None or not load.timeline.offered:
        return None
    end = load.started_at + load.duration_s
    rollouts = [one for one in record.rollouts if load.started_at <= began(one) <= end]
    scaling = [one for one in record.scaling if one.load == load.name]
    most = max(LEAST_POINTS, POINTS // max(1, len(record.loads)))
    return Story(load, load.timeline, tuple(rollouts), tuple(scaling), keys, most)


def charts(story: Story, name: str) -> list[str]:
    """All that was measured over time, from what was asked for to what it cost."""
    makers: Sequence[Callable[[Story, str], str]] = (
        _rates, _latencies, _failures, _replicas, _metric, _split, _by_revision, _in_flight, _lateness, _processors,
    )  # fmt: skip
    drawn = [make(story, f"{name}-{make.__name__.strip('_')}") for make in makers]
    return [svg for svg in drawn if svg]


def _rates(story: Story, name: str) -> str:
    of, rate = story.timeline, partial(_rate, story)
    lines = [Line("offered", rate(of.offered), 0, "steps"), Line("answered", rate(of.answered), 1, "steps")]
    return _drawn(story, name, "Requests per second", lines, Axis("rate", "1/s"), marks=story.weights)


def _latencies(story: Story, name: str) -> str:
    """On a logarithmic axis: the tail and the median have different sizes."""
    lines = [
        Line(label, _level(story, getattr(story.timeline, field)), key)
        for key, (label, field) in enumerate(LATENCIES)
    ]  # fmt: skip
    limits = list(_limit(story.load))
    values = [value for line in lines for _, value in line.points if value > 0]
    if not values:
        return ""
    values += [limit.at for limit in limits]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    axis = Axis("latency", "ms", span=(low, max(high, low + 1)))
    title = "Latency from the intended send" + (", not to be trusted" if story.load.distrust else "")
    return _drawn(story, name, title, lines, axis, marks=[*limits, *story.weights])


def _limit(load: LoadRecord) -> Iterator[Mark]:
    guard = load.latency_verdict
    if guard is not None and guard.slower_than_ms is not None:
        yield Mark(guard.slower_than_ms, f"slow from {guard.slower_than_ms:g} ms", "y")


def _failures(story: Story, name: str) -> str:
    failed = sorted(story.timeline.failed.items(), key=lambda item: -sum(item[1]))
    lines = [
        Line(label, _rate(story, counts), key, "steps") for key, (label, counts) in enumerate(failed) if any(counts)
    ]
    return _drawn(story, name, "Failed requests per second, by class", lines, Axis("rate", "1/s"), marks=story.weights)


def _replicas(story: Story, name: str) -> str:
    lines = []
    for key, each in enumerate(story.scaling):
        of = f" for {each.service}" if len(story.scaling) > 1 else ""
        lines += [
            Line(f"asked for{of}", _from_zero((look.at_s, look.desired) for look in each.looks), 2 * key, "steps"),
            Line(f"ready{of}", _from_zero((look.at_s, look.ready) for look in each.looks), 2 * key + 1, "steps"),
        ]
    decisions = [mark for each in story.scaling for mark in _decisions(each)]
    return _drawn(story, name, "Replicas, and what the autoscaler decided", lines, Axis("replicas"), marks=decisions)


def _decisions(scaling: ScalingRecord) -> Iterator[Mark]:
    """The moments at which the autoscaler asked for another number."""
    before = scaling.looks[0].desired if scaling.looks else 0
    for look in scaling.looks:
        if look.desired != before and look.at_s >= 0:
            yield Mark(look.at_s, f"{before} → {look.desired}")
        before = look.desired


def _from_zero(points: Iterable[tuple[float, float]]) -> Points:
    """From the load's begin on, with what was so by then: replicas are looked at before there is a load."""
    listed = [(float(at), float(value)) for at, value in points]
    before = [value for at, value in listed if at < 0]
    return [*((0.0, value) for value in before[-1:]), *((at, value) for at, value in listed if at >= 0)]


def _metric(story: Story, name: str) -> str:
    """What the autoscaler looked at; of the first service that scaled."""
    for each in story.scaling[:1]:
        points = _from_zero((look.at_s, look.metric) for look in each.looks if look.metric is not None)
        limit = Mark(each.target, f"target {each.target:g}", "y")
        title = f"{each.metric}, as the autoscaler saw it"
        return _drawn(story, name, title, [Line("measured", points, 0)], Axis(each.metric, top=each.target), [limit])
    return ""


def _split(story: Story, name: str) -> str:
    """Of the requests that each revision answered; of one revision there is no split."""
    counts = {revision: columns.requests for revision, columns in story.timeline.revisions.items()}
    if len(counts) < 2:
        return ""
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    lines = [
        Line(revision, _level(story, [100 * one / total if total else math.nan for one, total in zip(
            column, totals, strict=True)]), key, "steps")
        for revision, column, key in _keyed(story, counts)
    ]  # fmt: skip
    return _drawn(story, name, "Share of requests, by revision", lines, Axis("share", "%", top=100.0), story.weights)


def _by_revision(story: Story, name: str) -> str:
    counts = {revision: columns.p99_ms for revision, columns in story.timeline.revisions.items()}
    lines = [Line(revision, _level(story, column), key) for revision, column, key in _keyed(story, counts)]
    title = "99th percentile, by revision"
    return _drawn(story, name, title, lines, Axis("latency", "ms"), marks=story.weights) if len(lines) > 1 else ""


def _in_flight(story: Story, name: str) -> str:
    lines = [Line("in flight", _level(story, story.timeline.in_flight), 0, "steps")]
    return _drawn(story, name, "Requests in flight", lines, Axis("requests"))


def _lateness(story: Story, name: str) -> str:
    """The generator's own part in every latency."""
    lines = [Line("sent late by, p99", _level(story, story.timeline.delay_p99_ms), 0)]
    return _drawn(story, name, "Generator: 99th percentile of how late it sent", lines, Axis("delay", "ms"))


def _processors(story: Story, name: str) -> str:
    of = story.timeline
    lines = [Line("generator’s busiest process", _level(story, of.generator_cpu), 0)]
    lines += [Line(who, _level(story, column), 1 + key) for key, (who, column) in enumerate(of.server_cpu.items())]
    busy = max((value for line in lines for _, value in line.points), default=0.0) >= 0.5
    marks = [Mark(1.0, "one core", "y")] if busy else []
    return _drawn(story, name, "Processor: cores in use", lines, Axis("cores", top=1.0 if busy else 0.0), marks)


def _drawn(story: Story, name: str, title: str, lines: Sequence[Line], y: Axis, marks: Sequence[Mark] = ()) -> str:
    return chart(lines, name=name, title=title, x=story.time, y=y, marks=[*marks, *story.end])


def _keyed(story: Story, columns: Mapping[str, Column]) -> Iterator[tuple[str, Column, int]]:
    spare = len(story.keys)
    for index, (revision, column) in enumerate(sorted(columns.items())):
        yield revision, column, story.keys.get(revision, spare + index)


def _rate(story: Story, counts: Sequence[int]) -> Points:
    """Counts as requests a second: the mean of what a point stands for; the last, cut short, is left out."""
    step = story.timeline.step_s
    whole = max(1, int(story.load.duration_s / step))
    return _thinned([count / step for count in counts[:whole]], step, story.most, lambda group: sum(group) / len(group))


def _level(story: Story, values: Sequence[float]) -> Points:
    """Values of a moment: the largest of what a point stands for, so that no peak is lost."""
    return _thinned([float(value) for value in values], story.timeline.step_s, story.most, max)


def _thinned(values: Sequence[float], step_s: int, most: int, pick: Callable[[list[float]], float]) -> Points:
    """At most so many points (seconds, value); what has no value is left out."""
    width = max(1, math.ceil(len(values) / most))
    found = []
    for first in range(0, len(values), width):
        group = [value for value in values[first : first + width] if math.isfinite(value)]
        if group:
            found.append((float(first * step_s), pick(group)))
    return found


@dataclass(frozen=True)
class Row:
    """Some seconds of a load: rates in 1/s, latencies in ms (NaN where nothing was answered)."""

    at_s: float
    offered: float
    answered: float
    failed: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


def rows(story: Story) -> list[Row]:
    """The load's numbers in at most ROWS rows: means of rates, the largest of latencies."""
    of, step = story.timeline, story.timeline.step_s
    failed = [sum(column) for column in zip(*of.failed.values(), strict=True)] or [0] * len(of.offered)
    width = max(1, math.ceil(len(of.offered) / ROWS))
    return [
        Row(
            at_s=first * step,
            offered=_mean(of.offered, first, width) / step,
            answered=_mean(of.answered, first, width) / step,
            failed=sum(failed[first : first + width]),
            p50_ms=_most(of.p50_ms, first, width),
            p99_ms=_most(of.p99_ms, first, width),
            longest_ms=_most(of.max_ms, first, width),
        )
        for first in range(0, len(of.offered), width)
    ]


def _mean(values: Sequence[float], first: int, width: int) -> float:
    found = values[first : first + width]
    return sum(found) / len(found) if found else math.nan


def _most(values: Sequence[float], first: int, width: int) -> float:
    return max((value for value in values[first : first + width] if math.isfinite(value)), default=math.nan)
