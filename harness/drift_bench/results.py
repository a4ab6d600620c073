"""What the bench found, with exact intervals."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Share(BaseModel):
    """A share of trials with its exact (Clopper-Pearson) 95 % interval."""

    count: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.trials

    def __str__(self) -> str:
        return f"{100 * self.value:.3g} % ({100 * self.low:.2g} to {100 * self.high:.3g})"


class ShiftResult(BaseModel):
    """One shift: how often it was found at all and at once, and after how many windows."""

    name: str
    words: str
    found: Share = Field(description="within the windows of a trial")
    at_once: Share = Field(description="in the first window")
    median_windows: float | None = Field(description="until the alarm, in windows; None: fewer than half were found")
    worst_windows: int | None = Field(description="the longest that was found")
    by: dict[str, Share] = Field(description="kind of test -> share of the trials whose alarm it was part of")


class BenchResult(BaseModel):
    """The whole bench; probabilities in [0, 1]."""

    seed: int
    rows: int
    reference_rows: int
    columns: int
    false_alarms_per_day: float
    looks_per_day: float
    resampled: bool
    false_alarms: Share = Field(description="windows without a shift that alarmed")
    per_day: tuple[float, float, float] = Field(description="false alarms a day: measured, and the interval's ends")
    shifts: list[ShiftResult]
    took_s: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the stated rate is not refuted: the interval's lower end is not above it."""
        return self.per_day[1] <= self.false_alarms_per_day
