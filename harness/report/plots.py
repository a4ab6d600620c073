"""Charts as inline SVG that stretches, with its labels as HTML: text keeps its size on a phone and in print.

Colours and dashes come from the page's style sheet by class (`k0`, `k1`, …), so a chart follows light and dark, and a
line is told apart by its dash as well as its colour. Every chart has a title and a description in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from harness.report._format import THIN, number

KEYS = 6
_BOX = 1000.0


@dataclass(frozen=True)
class Line:
    """One series: (x, y) points in order; `key` picks colour and dash."""

    label: str
    points: Sequence[tuple[float, float]]
    key: int = 0
    style: Literal["line", "steps", "dots"] = "line"


@dataclass(frozen=True)
class Axis:
    """What an axis shows; `top` is the least upper end (a percentage ends at 100)."""

    label: str
    unit: str = ""
    top: float = 0.0
    from_zero: bool = True


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most `low` to at least `high`."""
    span = high - low if high > low else abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(max(high, low + span * 1e-9) / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def chart(lines: Sequence[Line], *, name: str, title: str, x: Axis, y: Axis, says: str = "") -> str:
    """A figure of lines, steps or dots; "" if there is nothing to draw. `name` makes its ids unique on the page."""
    lines = [Line(line.label, _finite(line.points), line.key, line.style) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    across, up = _ticks(lines, 0, x), _ticks(lines, 1, y)
    ends, bottom, top = _range(lines, 0, x), up[0], up[-1]
    drawn = "".join(_draw(line, ends, (bottom, top)) for line in lines)
    grid = "".join(f'<path class="grid" d="M0 {_at(tick, bottom, top, flip=True)}H1000"/>' for tick in up)
    svg = (
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(says or _describe(lines, y))}</desc>'
        f"{grid}{drawn}</svg>"
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{_unit(y.unit)}</figcaption><div class="plot">'
        f'<div class="y" aria-hidden="true">{_labels(up, (bottom, top), "bottom")}</div>{svg}'
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


def stack(parts: Sequence[tuple[str, float]], *, name: str, title: str) -> str:
    """One bar of parts that add up to the whole; the table beside it has the numbers."""
    total = sum(value for _, value in parts)
    if total <= 0:
        return ""
    drawn, x = [], 0.0
    for index, (_, value) in enumerate(parts):
        width = value / total * _BOX
        if value > 0:
            # A part is never thinner than a visible line, however rare.
            place = f'x="{min(x, 996.0):.1f}" width="{max(width, 4.0):.1f}"'
            drawn.append(f'<rect class="f{index % KEYS}" {place} y="0" height="10"/>')
        x += width
    words = "; ".join(f"{label}: {number(value / total * 100)} %" for label, value in parts)
    return (
        f'<svg class="stack" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(words)}</desc>{"".join(drawn)}</svg>'
    )


def interval(low: float, high: float, observed: float, wanted: float, end: float) -> str:
    """An interval with its observed value and the wanted one, on an axis from 0 to `end`; the row has the numbers."""
    at = [min(max(value / end * _BOX, 0.0), _BOX) for value in (low, high, observed, wanted)]
    return (
        '<svg class="interval" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path class="track" d="M0 5H1000"/><path class="range" d="M{at[0]:.1f} 5H{max(at[1], at[0] + 2):.1f}"/>'
        f'<path class="seen" d="M{at[2]:.1f} 5h0.01"/><path class="wanted" d="M{at[3]:.1f} 0V10"/></svg>'
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in points if math.isfinite(a) and math.isfinite(b)]


def _ticks(lines: Sequence[Line], index: int, axis: Axis) -> list[float]:
    low, high = _range(lines, index, axis)
    marks = ticks(low, high)
    # Time starts and ends where the data do: round numbers inside that, not around it.
    return [mark for mark in marks if low - 1e-9 <= mark <= high + 1e-9] if index == 0 else marks


def _range(lines: Sequence[Line], index: int, axis: Axis) -> tuple[float, float]:
    values = [point[index] for line in lines for point in line.points]
    low = min(values)
    high = max(*values, axis.top) if axis.top else max(values)
    if axis.from_zero:
        low = min(low, 0.0)
    return (low, high) if high > low else (low - 0.5 * (index == 0 and not axis.from_zero), low + 1.0)


def _at(value: float, low: float, high: float, *, flip: bool = False) -> str:
    share = (value - low) / (high - low)
    return f"{(1.0 - share if flip else share) * _BOX:.1f}".removesuffix(".0")


def _draw(line: Line, across: tuple[float, float], up: tuple[float, float]) -> str:
    places = [(_at(a, *across), _at(b, *up, flip=True)) for a, b in line.points]
    key = line.key % KEYS
    if line.style == "dots" or len(places) == 1:
        # A line of no length with round ends is a dot that stays round when the box is stretched.
        return f'<path class="dot k{key}" d="{"".join(f"M{a} {b}h0.01" for a, b in places)}"/>'
    path = f"M{places[0][0]} {places[0][1]}"
    path += "".join(f"H{a}V{b}" if line.style == "steps" else f"L{a} {b}" for a, b in places[1:])
    return f'<path class="line k{key}" d="{path}"/>'


def _labels(marks: Sequence[float], ends: tuple[float, float], side: str, unit: str = "") -> str:
    low, high = ends
    digits = _decimals(marks)
    spans = []
    for index, mark in enumerate(marks):
        text = number(mark) if digits is None else f"{mark:.{digits}f}"
        text += f"{THIN}{unit}" if unit and index == len(marks) - 1 else ""
        place = (mark - low) / (high - low) * 100
        last = ' class="last"' if side == "left" and place > 94 else ""  # its middle would stand outside the page
        spans.append(f'<span{last} style="{side}:{place:.2f}%">{escape(text)}</span>')
    return "".join(spans)


def _decimals(marks: Sequence[float]) -> int | None:
    """The same number of decimals for all labels of an axis; None where plain numbers read better."""
    if len(marks) < 2 or max(map(abs, marks)) >= 1000:
        return None
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    return digits if digits <= 4 else None


def _unit(unit: str) -> str:
    return f' <span class="unit">{escape(unit)}</span>' if unit else ""


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 28 10" aria-hidden="true" focusable="false"><path class="'
        f'{"dot" if line.style == "dots" else "line"} k{line.key % KEYS}" '
        f'd="{"M14 5h0.01" if line.style == "dots" else "M1 5H27"}"/></svg>{escape(line.label)}</li>'
        for line in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _describe(lines: Sequence[Line], y: Axis) -> str:
    def words(line: Line) -> str:
        values = [value for _, value in line.points]
        return f"{line.label}: from {number(min(values))} to {number(max(values))}, last {number(values[-1])} {y.unit}"

    return "; ".join(words(line).rstrip() for line in lines)
