"""What the page says of a service that scaled: reaction times beside the predicted ones, replicas over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import _format as fmt
from harness.report.plots import Axis, Line, Mark, chart
from harness.report.record import ReactionTimes, RunRecord, ScalingLook, ScalingRecord

TIME = Axis("time", "s", from_zero=False)
_STEPS = (
    ("metric_s", "The metric was above its target"),
    ("decided_s", "More replicas were asked for"),
    ("first_s", "One more was ready"),
    ("ready_s", "All of them were ready"),
    ("back_s", "Back to the least, after the load's end"),
)


def said(scaling: ScalingRecord) -> str:
    """How far it went, in a sentence."""
    if scaling.measured.peak <= scaling.least:
        return f"{scaling.service} stayed at {scaling.least}"
    back = "" if scaling.measured.back_s is None else " and back"
    return f"{scaling.service} went from {scaling.least} to {scaling.measured.peak} replicas{back}"


def aim(scaling: ScalingRecord) -> str:
    """The target with its unit."""
    return f"{fmt.number(scaling.target)}{fmt.THIN}{scaling.unit}"


def means(scaling: ScalingRecord) -> str:
    """What the target is meant of."""
    return "of what the replicas request" if scaling.unit == "%" else "for each replica"


def reaction_rows(scaling: ScalingRecord) -> Iterator[tuple[str, str, str]]:
    """(what, measured, predicted) of each reaction time, then the most replicas."""
    for field, words in _STEPS:
        yield words, _time(scaling.measured, field), _time(scaling.predicted, field)
    yield (
        "Most replicas asked for",
        str(scaling.measured.peak),
        str(scaling.predicted.peak) if scaling.predicted else "–",
    )


def scaling_charts(scaling: ScalingRecord, name: str) -> list[str]:
    """Replicas over time, asked for, ready and predicted; and the metric against its target."""
    lines = [
        Line("asked for", _points(scaling.looks, "desired"), 0, "steps"),
        Line("ready", _points(scaling.looks, "ready"), 1, "steps"),
        Line("predicted", _points(scaling.predicted_looks, "desired"), 2, "steps"),
    ]
    moments = [Mark(0.0, "load begins"), Mark(scaling.load_s, "load ends")]
    metric = [
        Line("measured", _points(scaling.looks, "metric"), 0),
        Line("predicted", _points(scaling.predicted_looks, "metric"), 2),
    ]
    limit = Mark(scaling.target, f"target {aim(scaling)}", "y")
    percent = scaling.unit == "%"
    title = f"{scaling.metric}, {'percent of what the replicas request' if percent else 'for each replica'}"
    drawn = [
        chart(lines, name=f"{name}-replicas", title="Replicas", x=TIME, y=Axis("replicas"), marks=moments),
        chart(
            metric,
            name=f"{name}-metric",
            title=title,
            x=TIME,
            y=Axis(scaling.metric, scaling.unit, top=scaling.target),
            marks=[limit],
        ),
    ]
    return [svg for svg in drawn if svg]


def blocked(record: RunRecord) -> list[tuple[str, str]]:
    """(service, reason) of every replica that could not start."""
    return [(scaling.service, reason) for scaling in record.scaling for reason in scaling.blocked]


def _points(looks: Sequence[ScalingLook], field: str) -> list[tuple[float, float]]:
    values = [(look.at_s, getattr(look, field)) for look in looks]
    return [(at, float(value)) for at, value in values if value is not None]


def _time(times: ReactionTimes | None, field: str) -> str:
    value = getattr(times, field) if times else None
    return "–" if value is None else fmt.seconds(value)
