"""Charts as inline SVG that stretches, with its labels as HTML: text keeps its size on a phone and in print.

Colours and dashes come from the page's style sheet by class (`k0`, `k1`, …), so a chart follows light and dark, and a
line is told apart by its dash as well as its colour. Every chart has a title and a description in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

from harness.report._axes import Axis, Ends, time_marks, value_marks, written
from harness.report._format import number

__all__ = ["Axis", "Line", "Mark", "bar", "chart", "interval", "stack"]

KEYS = 6
LABEL_WIDTH = 9.0  # percent of a chart's width that a moment's label needs, at the narrowest
_BOX = 1000.0


@dataclass(frozen=True)
class Line:
    """One series: (x, y) points in order; `key` picks colour and dash: a number, or a class such as "good"."""

    label: str
    points: Sequence[tuple[float, float]]
    key: int | str = 0
    style: Literal["line", "steps", "dots"] = "line"


@dataclass(frozen=True)
class Mark:
    """A rule across the chart at a value of the y axis (a limit) or of the x axis (a moment), with its label."""

    at: float
    label: str
    axis: Literal["x", "y"] = "x"


def chart(
    lines: Sequence[Line], *, name: str, title: str, x: Axis, y: Axis, says: str = "", marks: Sequence[Mark] = ()
) -> str:
    """A figure of lines, steps or dots; "" if there is nothing to draw. `name` makes its ids unique on the page."""
    lines = [replace(line, points=_finite(line.points)) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    says = says or _describe(lines, y)
    lines = [replace(line, points=[(a, y.place(b)) for a, b in line.points]) for line in lines]
    across, ends = time_marks([a for line in lines for a, _ in line.points], x)
    up, heights = value_marks([b for line in lines for _, b in line.points], y)
    grid = "".join(f'<path class="grid" d="M0 {_at(tick, *heights, flip=True)}H1000"/>' for tick in up)
    rules = "".join(_rule(mark, ends, heights, y) for mark in marks)
    drawn = "".join(_draw(line, ends, heights) for line in lines)
    svg = (
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(says)}</desc>'
        f"{grid}{rules}{drawn}</svg>"
    )
    caption = f"<figcaption>{escape(title)}{_unit(y.unit)}</figcaption>"
    return (
        f'<figure class="chart{_marked(marks)}">{caption}<div class="plot">'
        f'<div class="y" aria-hidden="true">{_labels(up, heights, "bottom", log=y.log)}</div>{svg}'
        f"{_mark_labels(marks, ends, heights, y)}"
        f'<div class="x" aria-hidden="true">{_labels(across, ends, "left", x.unit)}</div></div>'
        f"{_legend(lines)}</figure>"
    )


def bar(start: float, length: float, total: float, kind: str) -> str:
    """One row of a Gantt chart: a bar from `start` for `length` on an axis of `total`; decoration for a table row."""
    scale = _BOX / total if total > 0 else 0.0
    x = min(max(start * scale, 0.0), _BOX)
    width = min(max(length * scale, 4.0), _BOX - x) if x < _BOX - 4 else 4.0
    return (
        '<svg class="gantt" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path class="track" d="M0 5H1000"/><rect class="{escape(kind)}" x="{min(x, 996.0):.1f}" y="0" '
        f'width="{width:.1f}" height="10"/></svg>'
    )


def stack(parts: Sequence[tuple[str, float, int]], *, name: str, title: str) -> str:
    """One bar of parts (label, value, key) that add up to the whole; the table beside it has the numbers."""
    total = sum(value for _, value, _ in parts)
    if total <= 0:
        return ""
    drawn, x = [], 0.0
    for _, value, key in parts:
        width = value / total * _BOX
        if value > 0:
            # A part is never thinner than a visible line, however rare.
            place = f'x="{min(x, 996.0):.1f}" width="{max(width, 4.0):.1f}"'
            drawn.append(f'<rect class="f{key % KEYS}" {place} y="0" height="10"/>')
        x += width
    words = "; ".join(f"{label}: {number(value / total * 100)} %" for label, value, _ in parts)
    return (
        f'<svg class="stack" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(words)}</desc>{"".join(drawn)}</svg>'
    )


def interval(low: float, high: float, observed: float, wanted: float, end: float, begin: float = 0.0) -> str:
    """An interval, its observed value and the wanted one, on an axis from `begin` to `end`; the row has the numbers."""
    at = [_BOX * min(max((value - begin) / (end - begin), 0.0), 1.0) for value in (low, high, observed, wanted)]
    return (
        '<svg class="interval" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path class="track" d="M0 5H1000"/><path class="range" d="M{at[0]:.1f} 5H{max(at[1], at[0] + 2):.1f}"/>'
        f'<path class="seen" d="M{at[2]:.1f} 5h0.01"/><path class="wanted" d="M{at[3]:.1f} 0V10"/></svg>'
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in points if math.isfinite(a) and math.isfinite(b)]


def _at(value: float, low: float, high: float, *, flip: bool = False) -> str:
    share = (value - low) / (high - low)
    return f"{(1.0 - share if flip else share) * _BOX:.1f}".removesuffix(".0")


def _draw(line: Line, across: Ends, up: Ends) -> str:
    places = [(_at(a, *across), _at(b, *up, flip=True)) for a, b in line.points]
    if line.style == "dots" or len(places) == 1:
        # A line of no length with round ends is a dot that stays round when the box is stretched.
        return f'<path class="dot {_key(line)}" d="{"".join(f"M{a} {b}h0.01" for a, b in places)}"/>'
    path = f"M{places[0][0]} {places[0][1]}"
    path += "".join(f"H{a}V{b}" if line.style == "steps" else f"L{a} {b}" for a, b in places[1:])
    return f'<path class="line {_key(line)}" d="{path}"/>'


def _key(line: Line) -> str:
    return line.key if isinstance(line.key, str) else f"k{line.key % KEYS}"


def _rule(mark: Mark, across: Ends, up: Ends, y: Axis) -> str:
    if mark.axis == "y":
        return f'<path class="limit" d="M0 {_at(y.place(mark.at), *up, flip=True)}H1000"/>'
    return f'<path class="moment" d="M{_at(min(max(mark.at, across[0]), across[1]), *across)} 0V1000"/>'


def _mark_labels(marks: Sequence[Mark], across: Ends, up: Ends, y: Axis) -> str:
    """Limits are labelled above their line, moments at the top; a moment too near to the last one stays a line."""
    spans, taken = [], -math.inf
    for mark in sorted(marks, key=lambda mark: mark.at):
        low, high = up if mark.axis == "y" else across
        place = ((y.place(mark.at) if mark.axis == "y" else mark.at) - low) / (high - low) * 100
        if mark.axis == "y":
            spans.append(f'<span class="limit" style="bottom:{place:.2f}%">{escape(mark.label)}</span>')
        elif mark.label and place - taken >= LABEL_WIDTH:
            taken = place
            side = " first" if place < LABEL_WIDTH / 2 else " last" if place > 100 - LABEL_WIDTH / 2 else ""
            left = f"left:{min(max(place, 0.0), 100.0):.2f}%"
            spans.append(f'<span class="moment{side}" style="{left}">{escape(mark.label)}</span>')
    return f'<div class="marks" aria-hidden="true">{"".join(spans)}</div>' if spans else ""


def _labels(marks: Sequence[float], ends: Ends, side: str, unit: str = "", *, log: bool = False) -> str:
    low, high = ends
    spans = []
    for mark, text in zip(marks, written(marks, unit, log=log), strict=True):
        place = (mark - low) / (high - low) * 100
        last = ' class="last"' if side == "left" and place > 94 else ""  # its middle would stand outside the page
        spans.append(f'<span{last} style="{side}:{place:.2f}%">{escape(text)}</span>')
    return "".join(spans)


def _marked(marks: Sequence[Mark]) -> str:
    """Moments are labelled above the plot, and need room there."""
    return " marked" if any(mark.axis == "x" and mark.label for mark in marks) else ""


def _unit(unit: str) -> str:
    return f' <span class="unit">{escape(unit)}</span>' if unit else ""


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 28 10" aria-hidden="true" focusable="false"><path class="'
        f'{"dot" if line.style == "dots" else "line"} {_key(line)}" '
        f'd="{"M14 5h0.01" if line.style == "dots" else "M1 5H27"}"/></svg>{escape(line.label)}</li>'
        for line in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _describe(lines: Sequence[Line], y: Axis) -> str:
    def words(line: Line) -> str:
        values = [value for _, value in line.points]
        return f"{line.label}: from {number(min(values))} to {number(max(values))}, last {number(values[-1])} {y.unit}"

    return "; ".join(words(line).rstrip() for line in lines)
