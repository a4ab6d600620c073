"""What the page of a comparison draws: each ratio with its interval, and both loads' latencies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.report import _format as fmt
from harness.report.plots import Axis, Line, chart, interval

if TYPE_CHECKING:
    from harness.compare.compare import Comparison, Row
    from harness.compare.intervals import Interval
    from harness.compare.sample import Key, Sample
    from harness.report.record import RunRecord

TIME = Axis("time", "s", from_zero=False)
WORDS = {"failed": "Failed requests", "answered well": "Good answers"}
TONES = {"worse": "failed", "better": "passed", "no difference shown": "skipped", "withheld": "interrupted"}
OUTCOMES = {  # the status that colours an outcome, and a badge's words
    "regression": ("failed", "a regression"),
    "incomplete": ("failed", "incomplete"),
    "no verdict": ("interrupted", "no verdict"),
    "no regression": ("passed", "no regression shown"),
}
BUDGETS = {"kept": "passed", "broken": "failed", "open": "skipped"}
_WIDEST = math.log(16.0)  # of a drawn ratio: what is beyond is drawn at the edge
_POINTS = 200


def named(metric: str) -> str:
    return WORDS.get(metric, f"{metric} latency")


def quantity(value: float, unit: str) -> str:
    """A value in the unit of its row."""
    if math.isnan(value):
        return "–"
    if unit == "share":
        return fmt.percent(value)
    return fmt.milliseconds(value) if unit == "ms" else f"{fmt.number(value)}{fmt.THIN}/s"


def change(ratio: float) -> str:
    """A ratio as the change that it is: +12 %, −3 %; three times and more as a factor."""
    if math.isnan(ratio):
        return "–"
    if math.isinf(ratio):
        return "no bound"
    return f"×{fmt.number(float(ratio))}" if ratio >= 3 else fmt.points(ratio - 1).replace("pp", "%")


def between(ratio: Interval) -> str:
    """The interval of a ratio in words."""
    low = "no bound" if ratio.low <= 0 else change(ratio.low)
    return f"{low} to {change(ratio.high)}"


def ratio_drawn(row: Row, rows: Sequence[Row]) -> str:
    """The interval of after / before around 1, on the logarithmic axis that the rows of a page share.

    The axis is as wide as the latencies need; what is beyond, as failures often are, is drawn at its edge.
    """
    bounds = [abs(_log(each)) for one in rows if one.unit == "ms" for each in _ends(one)]
    end = 1.1 * max([0.1, *(bound for bound in bounds if bound < _WIDEST)])
    low, high = _ends(row)
    seen = _log(row.ratio.observed) if row.ratio.observed > 0 else 0.0
    return interval(_log(low), _log(high), seen, 0.0, end, -end)


def _ends(row: Row) -> tuple[float, float]:
    return (0.0, 0.0) if math.isnan(row.ratio.observed) else (row.ratio.low, row.ratio.high)


def _log(value: float) -> float:
    return -_WIDEST if value <= 0 else min(_WIDEST, max(-_WIDEST, math.log(value)))


def said(found: Comparison) -> tuple[str, str]:
    """The status of the whole, and a badge's words for it."""
    status, words = OUTCOMES[found.outcome.value]
    worse = any(row.verdict.value == "worse" for row in found.rows)
    return status, "worse, but not shown to break the budget" if found.passed and worse else words


def opening(found: Comparison) -> str:
    """The sentence that the page and the terminal begin with."""
    if broken := found.broken:
        worst = max(broken, key=lambda row: abs(math.log(row.ratio.low or 1e-9)))
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        what = f"{worst.load}, {named(worst.metric).lower()}"
        return (
            f"{what}: worse by more than the budget of {fmt.percent(found.budget)}: "
            f"{quantity(worst.before, worst.unit)} before, {quantity(worst.after, worst.unit)} after "
            f"({between(worst.ratio)}){more}."
        )
    if lacking := found.lacking:
        return f"B lacks {'load' if len(lacking) == 1 else 'loads'} {', '.join(lacking)} of A."
    if found.outcome.value == "no verdict":
        return f"Nothing can be said: {found.rows[0].note}."
    worse, better = (sum(row.verdict.value == what for row in found.rows) for what in ("worse", "better"))
    if not worse and not better:
        return "No difference was shown."
    return f"{worse} worse, {better} better; none is shown to be worse by more than {fmt.percent(found.budget)}."


def both_charts(key: Key, before: Mapping[Key, Sample], after: Mapping[Key, Sample], name: str) -> list[str]:
    """The distribution of the latencies, and their 99th percentile over time, of a load in both runs."""
    pair = [("A", before[key]), ("B", after[key])]
    drawn = [
        chart(
            [Line(label, _distribution(sample), index) for index, (label, sample) in enumerate(pair)],
            name=f"{name}-spread", title="Requests answered within", x=Axis("latency", "ms", from_zero=False),
            y=Axis("share", "%", top=100.0),
        ),
        chart(
            [Line(label, _over_time(sample), index) for index, (label, sample) in enumerate(pair)],
            name=f"{name}-time", title="99th percentile over the load", x=TIME, y=Axis("latency", "ms"),
        ),
    ]  # fmt: skip
    return [svg for svg in drawn if svg]


def _distribution(sample: Sample) -> list[tuple[float, float]]:
    """(latency, percent of requests up to it), to the 99.5th percentile: the rest would flatten all of it."""
    import numpy as np

    values = np.concatenate(sample.latencies_ms)
    shares = np.linspace(0, 99.5, _POINTS)
    return list(zip(np.percentile(values, shares).tolist(), shares.tolist(), strict=True)) if len(values) else []


def _over_time(sample: Sample) -> list[tuple[float, float]]:
    import numpy as np

    width = sum(sample.requests) / sample.offered_rps / len(sample.requests)
    return [
        (index * width, float(np.percentile(batch, 99)))
        for index, batch in enumerate(sample.latencies_ms)
        if len(batch)
    ]


def apart(before: RunRecord, after: RunRecord) -> list[tuple[str, str, str]]:
    """(what, A, B) of the figures that have no interval, and of versions and environment where the runs differ."""
    facts = [
        ("Verdict", before.status.value, after.status.value),
        ("Duration", fmt.seconds(before.duration_s), fmt.seconds(after.duration_s)),
        ("Peak memory, MB", fmt.count(before.peak_memory_mb), fmt.count(after.peak_memory_mb)),
        ("Command", before.command, after.command),
        ("Backend", before.backend, after.backend),
    ]
    for one, other in ((before.versions, after.versions), (before.environment, after.environment)):
        facts += [
            (name.replace("_", " "), fmt.scalar(one.get(name)), fmt.scalar(other.get(name)))
            for name in {**one, **other}
            if one.get(name) != other.get(name)
        ]
    return facts
