"""What the page says of a load: how it was offered, whether its figures can be trusted, and its series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

from harness.report import _format as fmt
from harness.report.plots import Axis, Line, chart, stack
from harness.report.record import LoadRecord

TIME = Axis("time", "s", from_zero=False)


def offered(load: LoadRecord) -> Iterator[tuple[str, str]]:
    """How the requests were made and how well the generator kept its schedule, as terms and values."""
    senders, one, many = (
        (load.workers, "worker Pod", "worker Pods") if load.workers else (load.processes, "process", "processes")
    )
    yield "Arrivals", f"{load.arrivals}, from {fmt.count(senders)} {one if senders == 1 else many}"
    if load.users:
        yield "Users", f"{fmt.count(load.users)}, each with an x-user-id"
    if load.retried:
        yield "Retried by the gateway", fmt.count(load.retried)
    if load.mirrored:
        yield "Copies to a shadow", f"{fmt.count(load.mirrored)}, each matched to its request"
    if load.unlogged:
        yield "Log line lost with the gateway", f"{fmt.count(load.unlogged)} answers, known from the client alone"
    late = (fmt.milliseconds(value) for value in (load.schedule_delay_p50_ms, load.schedule_delay_p99_ms))
    yield "Sent late by", "{} (median), {} (p99)".format(*late)
    if load.generator_cpu:
        yield "Generator", f"{fmt.percent(load.generator_cpu)} of a core in its busiest process"


def load_charts(load: LoadRecord, name: str, known: dict[str, int]) -> list[str]:
    """Requests, median and 99th percentile over time, one line a revision."""
    plans = (
        ("requests", "Requests per second", "1/s"),
        ("p50_ms", "Median latency", "ms"),
        ("p99_ms", "99th percentile", "ms"),
    )
    drawn = [
        chart(
            _by_revision(load, field, known), name=f"{name}-{field}", title=_titled(load, title, unit), x=TIME,
            y=Axis(title, unit),
        )
        for field, title, unit in plans
    ]  # fmt: skip
    return [svg for svg in drawn if svg]


def _titled(load: LoadRecord, title: str, unit: str) -> str:
    return f"{title}, not to be trusted" if load.distrust and unit == "ms" else title


def _by_revision(load: LoadRecord, field: str, known: dict[str, int]) -> list[Line]:
    if load.timeline is None:
        return []
    spare, step_s = len(known), load.timeline.step_s
    return [
        Line(revision, list(_points(getattr(columns, field), step_s)), known.get(revision, spare + index))
        for index, (revision, columns) in enumerate(sorted(load.timeline.revisions.items()))
    ]


def _points(column: Sequence[float], step_s: int) -> Iterator[tuple[float, float]]:
    """Seconds and values, without those where nothing was answered; counts are per second."""
    for entry, value in enumerate(column):
        if math.isfinite(value):
            yield float(entry * step_s), value / step_s if isinstance(value, int) else value


def class_keys(load: LoadRecord, known: dict[str, int]) -> dict[str, int]:
    """Each ledger class's colour: a revision's is the one that it has in the charts."""
    spare = count(len(known))
    revisions = {name: name.removeprefix("answered:") for name in load.classes}
    return {name: known[revision] if revision in known else next(spare) for name, revision in revisions.items()}


def ledger_bar(load: LoadRecord, name: str, known: dict[str, int]) -> str:
    keys = class_keys(load, known)
    parts = [(label, float(number), keys[label]) for label, number in load.classes.items()]
    return stack(parts, name=name, title=f"Where the requests of load {load.name} went")
