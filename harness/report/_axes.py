"""Axes of a chart: round marks, where a value stands, and how a mark is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report._format import THIN, number, power_of_ten

Ends = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """What an axis shows; `top` is the least upper end (a percentage ends at 100).

    A `log` axis has `span`, its lowest and highest power of ten; values beyond are drawn at its edges. `ends`: where an
    axis of time begins and ends whatever the data are, so that charts stand under one another.
    """

    label: str
    unit: str = ""
    top: float = 0.0
    from_zero: bool = True
    span: tuple[int, int] | None = None
    ends: Ends | None = None

    @property
    def log(self) -> bool:
        return self.span is not None

    def place(self, value: float) -> float:
        """Where a value stands: itself, or its power of ten kept on the axis."""
        if self.span is None:
            return value
        low, high = self.span
        return min(max(math.log10(value), low), high) if value > 0 else float(low)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most `low` to at least `high`."""
    span = high - low if high > low else abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(max(high, low + span * 1e-9) / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def powers(low: int, high: int, about: int = 5) -> list[float]:
    """Powers of ten from `low` to `high`, with 10⁰ among them if it is on the axis."""
    step = max(1, math.ceil((high - low) / about))
    first = math.ceil(low / step) * step
    return [float(mark) for mark in range(first, high + 1, step)]


def time_marks(values: Sequence[float], axis: Axis) -> tuple[list[float], Ends]:
    """Marks and ends of an axis that starts and ends where the data do: round numbers inside that, not around it."""
    low, high = axis.ends or _range(values, axis)
    if high <= low:
        low, high = low - 0.5 * (not axis.from_zero), low + 1.0
    return [mark for mark in ticks(low, high, about=6) if low - 1e-9 <= mark <= high + 1e-9], (low, high)


def value_marks(values: Sequence[float], axis: Axis) -> tuple[list[float], Ends]:
    """Marks and ends of an axis that goes from one round number to another."""
    if axis.span is not None:
        return powers(*axis.span), (float(axis.span[0]), float(axis.span[1]))
    low, high = _range(values, axis)
    marks = ticks(low, high if high > low else low + 1.0)
    return marks, (marks[0], marks[-1])


def _range(values: Sequence[float], axis: Axis) -> Ends:
    low = min(values)
    high = max(*values, axis.top) if axis.top else max(values)
    return (min(low, 0.0) if axis.from_zero else low), high


def written(marks: Sequence[float], unit: str = "", *, log: bool = False) -> list[str]:
    """The marks as text: all with the same number of decimals, the last with the unit."""
    digits = _decimals(marks)
    texts = [_power(round(mark)) if log else number(mark) if digits is None else f"{mark:.{digits}f}" for mark in marks]
    return [*texts[:-1], f"{texts[-1]}{THIN}{unit}"] if unit and texts else texts


def _power(exponent: int) -> str:
    return str(10**exponent) if exponent in (0, 1) else power_of_ten(exponent)


def _decimals(marks: Sequence[float]) -> int | None:
    """The same number of decimals for all labels of an axis; None where plain numbers read better."""
    if len(marks) < 2 or max(map(abs, marks)) >= 1000:
        return None
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    return digits if digits <= 4 else None
