"""The page of a trend, one self-contained file, and the same as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import _format as fmt
from harness.report.plots import Axis, Line, Mark, chart
from harness.report.render import environment
from harness.report.store import write_text
from harness.runtime.redact import redact, redact_text

if TYPE_CHECKING:
    from harness.compare.trend import Figure, Track, Trend

TONES = {"higher than before": "interrupted", "lower than before": "interrupted", "like before": "passed"}


def write_trend(found: Trend, folder: Path) -> Path:
    """Write folder/trend.json and folder/index.html; returns the page's path."""
    write_text(folder / "trend.json", json.dumps(redact(found.as_json()), indent=1, ensure_ascii=False) + "\n")
    return write_text(folder / "index.html", redact_text(page(found)))


def page(found: Trend) -> str:
    """The page as text."""
    text: str = environment().get_template("trend.html").render(
        found=found, opening=opening(found), drawn_of=drawn, newest=newest, interval=expected, tones=TONES
    )  # fmt: skip
    return text


def opening(found: Trend) -> str:
    """The sentence that the page and the terminal begin with."""
    if not found.tracks:
        return "No kind of run with a load was run twice."
    runs = f"{len(found.tracks)} {'kind' if len(found.tracks) == 1 else 'kinds'} of run"
    if not found.moved:
        return f"{runs}; no figure of the newest is beyond what the runs before it predict."
    track, figure = found.moved[0]
    more = f", and {len(found.moved) - 1} more" if len(found.moved) > 1 else ""
    return (
        f"{track.title}, {figure.name}: {newest(figure)} is {figure.newest.value} (expected: {expected(figure)}){more}."
    )


def drawn(figure: Figure, name: str) -> str:
    """The values by run, the newest at 0, with the interval that they predict for it."""
    values = [value for _, value in figure.points]
    places = range(1 - len(values), 1)
    bounds = _bounds(figure, values)
    marks = [Mark(bound, words, "y") for bound, words in bounds]
    top = max([0.0, *(bound for bound, _ in bounds)])
    first, last = (_day(figure.points[at][0]) for at in (0, -1))
    return chart(
        [Line(figure.name, list(zip(map(float, places), values, strict=True)), 0)],
        name=name, title=figure.name, x=Axis("run", from_zero=False), y=Axis(figure.name, figure.unit, top=top),
        marks=marks,
        says=f"{len(values)} runs from {first} to {last}: from {fmt.number(float(min(values)))} to "
        f"{fmt.number(float(max(values)))} {figure.unit}, the newest {newest(figure)}.",
    )  # fmt: skip


def _bounds(figure: Figure, values: Sequence[float]) -> list[tuple[float, str]]:
    """The interval's ends that lie near enough to the values to be drawn with them."""
    ends = ((figure.low, ""), (figure.high, "expected up to here"))
    return [(end, words) for end, words in ends if 0 < end <= 1.2 * max(values)]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%-d %B %Y")


def newest(figure: Figure) -> str:
    return f"{fmt.number(float(figure.points[-1][1]))}{fmt.THIN}{figure.unit}"


def expected(figure: Figure) -> str:
    """What the runs before predict, in words."""
    if figure.high == float("inf"):
        return "–"
    low, high = (fmt.number(float(end)) for end in (figure.low, figure.high))
    return f"{low} to {high}{fmt.THIN}{figure.unit}"


def rows(track: Track) -> list[tuple[str, str, str, str]]:
    """(figure, newest, expected, what is said) for a table."""
    return [(each.name, newest(each), expected(each), each.newest.value) for each in track.figures]
