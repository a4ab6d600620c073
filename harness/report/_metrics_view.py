"""The panels of the dashboards, drawn from what the run has recorded of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from harness.report._axes import Axis
from harness.report._rollout_view import TIME
from harness.report.plots import Line, Mark, chart
from harness.report.record import RunRecord, SeriesRecord

REACH = 3.0
"""A limit is drawn if it is at most so many times the largest value; a farther one would flatten the lines."""
ROOM = 1.15
"""The axis goes so far beyond a limit, for its label."""


@dataclass(frozen=True)
class Drawn:
    """One dashboard: its charts, and the titles of the panels that had nothing to say."""

    title: str
    charts: list[str]
    silent: list[str]
    left_out: list[str]


def dashboards(run: RunRecord, known: dict[str, int]) -> list[Drawn]:
    """Each with the same axis of time; `known` are the colours of the revisions."""
    time = replace(TIME, ends=_ends(run))
    drawn: list[Drawn] = []
    for title, group in groupby(run.series, key=lambda series: series.dashboard):
        panels = list(group)
        charts = [
            _chart(each, f"metric-{len(drawn)}-{at}", run.started_at, known, time) for at, each in enumerate(panels)
        ]
        drawn.append(
            Drawn(
                title,
                [svg for svg in charts if svg],
                [panel.name for panel, svg in zip(panels, charts, strict=True) if not svg],
                [f"{panel.name}: {panel.left_out} lines" for panel in panels if panel.left_out],
            )
        )
    return drawn


def _ends(run: RunRecord) -> tuple[float, float] | None:
    moments = [at - run.started_at for series in run.series for points in series.points.values() for at, _ in points]
    return (min(moments), max(moments)) if moments and min(moments) < max(moments) else None


def _chart(series: SeriesRecord, name: str, start: float, known: dict[str, int], time: Axis) -> str:
    lines = [
        Line(label, [(at - start, value) for at, value in points], known.get(label, index))
        for index, (label, points) in enumerate(series.points.items())
    ]
    limit = series.limit
    largest = max((value for points in series.points.values() for _, value in points), default=0.0)
    near = limit is not None and (series.powers is not None or limit.at <= REACH * largest)
    marks = [Mark(limit.at, limit.label, "y")] if limit is not None and near else []
    top = limit.at * ROOM if limit is not None and near else 0.0
    return chart(
        lines, name=name, title=series.name, x=time, y=Axis(series.name, series.unit, top=top, span=series.powers),
        marks=marks,
    )  # fmt: skip
