"""What the pages say of drift: windows of a service over time, and the bench's shares as drawn intervals."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10
from typing import TYPE_CHECKING

from harness.report import _format as fmt
from harness.report.plots import Axis, Line, Mark, chart
from harness.report.record import DriftRecord, RunRecord

if TYPE_CHECKING:
    from harness.drift_bench.results import Share

LEAST = 1e-12
"""Smaller p-values are drawn as this."""
SHOWN = 5
MOST_LISTED = 50


def services(record: RunRecord) -> list[str]:
    """The services whose windows were judged while they served."""
    return sorted({window.service for window in record.drift if window.service})


def listed(record: RunRecord) -> list[DriftRecord]:
    """The windows of the overview: of a service's own traffic the newest."""
    served = [window for window in record.drift if window.service]
    return [window for window in record.drift if not window.service] + served[-MOST_LISTED:]


def detailed(record: RunRecord) -> list[DriftRecord]:
    """The windows whose every test is shown: of a service's own traffic the first that drifted, and the last."""
    found = [window for window in record.drift if not window.service]
    for service in services(record):
        served = [window for window in record.drift if window.service == service]
        first = next((window for window in served if window.drifted), served[-1])
        found += [first] if first is served[-1] else [first, served[-1]]
    return found


def charts(record: RunRecord, service: str, name: str) -> Iterator[str]:
    """The evidence of each window: how far the strongest tests are beyond their thresholds, in powers of ten."""
    windows = sorted((each for each in record.drift if each.service == service), key=lambda each: each.end or 0.0)
    if len(windows) < 2:
        return
    began = windows[0].end or 0.0
    strongest = sorted({column.column for each in windows for column in each.columns}, key=lambda c: -_peak(windows, c))
    lines = [
        Line(column, [((each.end or 0.0) - began, _beyond(each, column)) for each in windows], key)
        for key, column in enumerate(strongest[:SHOWN])
    ]
    yield chart(
        lines,
        name=name,
        title=f"{service}: evidence of drift, window by window",
        x=Axis("end of the window", "s", from_zero=False),
        y=Axis("powers of ten beyond the threshold", from_zero=False),
        marks=[Mark(0.0, "alarm", "y")],
    )


def share(found: Share) -> str:
    """A share with its interval, in percent."""
    return f"{fmt.percent(found.value)} ({100 * found.low:.3g} to {100 * found.high:.3g})"


def unseen(found: Share | None) -> bool:
    """Whether a kind of test had no part in any alarm."""
    return found is None or found.count == 0


def _peak(windows: list[DriftRecord], column: str) -> float:
    return max(_beyond(each, column) for each in windows)


def _beyond(window: DriftRecord, column: str) -> float:
    found = next((each for each in window.columns if each.column == column), None)
    if found is None:
        return 0.0
    return log10(max(found.threshold, LEAST)) - log10(max(found.score, LEAST))
