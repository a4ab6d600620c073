"""The shape of a load: at what rate requests are due over time, as pure data.

Every shape is a row of pieces in each of which the rate runs along a straight line, so that how many requests are due
by a time, and when the k-th one is, are closed forms: the schedule is exact, and depends on nothing but the shape.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any, ClassVar, NamedTuple

from harness.errors import ConfigError

LEAST_RPS, MOST_RPS = 0.1, 20_000.0
MOST_S = 86_400.0
HOURS = 24
_MOST_LEVELS = 1000


class Piece(NamedTuple):
    """A rate that runs from `low` to `high` requests a second (or down) over so many seconds."""

    seconds: float
    low: float
    high: float

    @property
    def requests(self) -> float:
        """How many are due within it."""
        return self.seconds * (self.low + self.high) / 2 if math.isfinite(self.seconds) else math.inf

    def when(self, requests: float) -> float:
        """After how many seconds so many are due: the root of slope/2 t^2 + low t = requests, without cancellation."""
        slope = (self.high - self.low) / self.seconds if math.isfinite(self.seconds) else 0.0
        root = sqrt(max(0.0, self.low * self.low + 2 * slope * requests))
        return min(self.seconds, 2 * requests / (self.low + root)) if requests else 0.0


@dataclass(frozen=True)
class Shape(ABC):
    """A named row of pieces; its fields are what a user gives: requests a second (`_rps`) and seconds (`_s`)."""

    kind: ClassVar[str]
    allowed: ClassVar[Mapping[str, tuple[float, float]]]
    """From where to where a field may be; a list's items are checked one by one."""

    def __post_init__(self) -> None:
        """ConfigError for a field that is no number, or beyond what is allowed."""
        for name, (least, most) in self.allowed.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not (is_finite(number) and least <= number <= most):
                    expected = f"a number from {least:g} to {most:g}"
                    raise ConfigError(f"load.shape: {self.kind}.{name}: expected {expected}, got {number!r}")
        if self.duration_s is not None and self.duration_s > MOST_S:
            raise ConfigError(f"load.shape: {self.kind} lasts {self.duration_s:g} s, at most {MOST_S:g} s are allowed")
        if self.highest_rps == 0:
            raise ConfigError(f"load.shape: {self.kind} has no request: every rate is 0")

    @abstractmethod
    def pieces(self) -> tuple[Piece, ...]:
        """The rate over time, from the load's origin."""

    @property
    def duration_s(self) -> float | None:
        """When its last piece ends; None if it has no end."""
        seconds = sum(piece.seconds for piece in self.pieces())
        return seconds if math.isfinite(seconds) else None

    @property
    def highest_rps(self) -> float:
        return max(max(piece.low, piece.high) for piece in self.pieces())

    @property
    def mean_rps(self) -> float:
        """Requests over seconds; of a shape without an end, the rate that it goes on at."""
        if self.duration_s is None:
            return self.pieces()[-1].high
        return self.requests(self.duration_s) / self.duration_s

    def requests(self, seconds: float) -> float:
        """How many requests are due by then."""
        due, left = 0.0, seconds
        for piece in self.pieces():
            within = min(left, piece.seconds)
            slope = (piece.high - piece.low) / piece.seconds if math.isfinite(piece.seconds) else 0.0
            due += within * (piece.low + slope * within / 2)
            left -= within
        return due

    def times(self, counts: Iterable[float]) -> Iterator[float]:
        """When each of growing counts of requests has been due; ends with the first that the shape never reaches."""
        counts = iter(counts)
        count = next(counts)
        began = before = 0.0
        for piece in self.pieces():
            inside = piece.requests
            while count < before + inside:
                yield began + piece.when(count - before)
                count = next(counts)
            before += inside
            began += piece.seconds

    def body(self, sequence: int, bodies: int) -> int:
        """Which of so many bodies the request of this sequence has: they are sent in turn."""
        return sequence % bodies

    def words(self) -> str:
        """One line for a reader."""
        told = ", ".join(f"{each.name} {_text(getattr(self, each.name))}" for each in fields(self))
        return f"{self.kind}: {told}"

    def text(self) -> str:
        """As `rehearse load --shape` takes it."""
        given = (f"{each.name}={_text(getattr(self, each.name))}" for each in fields(self))
        return f"{self.kind}:{','.join(given)}"

    def parameters(self) -> dict[str, Any]:
        """Its fields, as JSON has them; harness.load.shape_file makes a shape of them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


RATE = (0.0, MOST_RPS)
SOME_RATE = (LEAST_RPS, MOST_RPS)
TIME = (0.0, MOST_S)
SOME_TIME = (0.001, MOST_S)


@dataclass(frozen=True)
class Steady(Shape):
    """One rate, for `hold_s` seconds; 0: for as long as the load lasts."""

    kind: ClassVar[str] = "steady"
    allowed = {"rps": SOME_RATE, "hold_s": TIME}
    rps: float = 50.0
    hold_s: float = 0.0

    def pieces(self) -> tuple[Piece, ...]:
        return (Piece(self.hold_s or math.inf, self.rps, self.rps),)


@dataclass(frozen=True)
class Step(Shape):
    """Rates one after the other, each for the same time."""

    kind: ClassVar[str] = "step"
    allowed = {"rates_rps": RATE, "each_s": SOME_TIME}
    rates_rps: tuple[float, ...] = (50.0, 100.0, 200.0, 50.0)
    each_s: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_rps", _several(self.kind, "rates_rps", self.rates_rps))
        super().__post_init__()

    def pieces(self) -> tuple[Piece, ...]:
        return tuple(Piece(self.each_s, rate, rate) for rate in self.rates_rps)


@dataclass(frozen=True)
class Ramp(Shape):
    """From one rate to another along a line, and then the last for a while."""

    kind: ClassVar[str] = "ramp"
    allowed = {"from_rps": RATE, "to_rps": RATE, "ramp_s": SOME_TIME, "hold_s": TIME}
    from_rps: float = 10.0
    to_rps: float = 200.0
    ramp_s: float = 30.0
    hold_s: float = 0.0

    def pieces(self) -> tuple[Piece, ...]:
        return _lasting(Piece(self.ramp_s, self.from_rps, self.to_rps), Piece(self.hold_s, self.to_rps, self.to_rps))


@dataclass(frozen=True)
class Spike(Shape):
    """A base rate, a peak at once, and the base rate again."""

    kind: ClassVar[str] = "spike"
    allowed = {"base_rps": RATE, "peak_rps": RATE, "before_s": TIME, "peak_s": SOME_TIME, "after_s": TIME}
    base_rps: float = 50.0
    peak_rps: float = 400.0
    before_s: float = 10.0
    peak_s: float = 5.0
    after_s: float = 15.0

    def pieces(self) -> tuple[Piece, ...]:
        base, peak = self.base_rps, self.peak_rps
        return _lasting(
            Piece(self.before_s, base, base), Piece(self.peak_s, peak, peak), Piece(self.after_s, base, base)
        )


@dataclass(frozen=True)
class Soak(Shape):
    """A rate that is reached gently and then held for long: what leaks or fills up shows."""

    kind: ClassVar[str] = "soak"
    allowed = {"rps": SOME_RATE, "ramp_s": TIME, "hold_s": SOME_TIME}
    rps: float = 100.0
    ramp_s: float = 30.0
    hold_s: float = 3600.0

    def pieces(self) -> tuple[Piece, ...]:
        return _lasting(Piece(self.ramp_s, 0.0, self.rps), Piece(self.hold_s, self.rps, self.rps))


@dataclass(frozen=True)
class Diurnal(Shape):
    """Days that pass in `day_s` each: lowest at midnight, highest at noon, by a cosine with a corner an hour."""

    kind: ClassVar[str] = "diurnal"
    allowed = {"low_rps": RATE, "high_rps": RATE, "day_s": SOME_TIME, "days": (1, 366)}
    low_rps: float = 20.0
    high_rps: float = 200.0
    day_s: float = 120.0
    days: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.days, int):
            raise ConfigError(f"load.shape: diurnal.days: expected a whole number, got {self.days!r}")

    def pieces(self) -> tuple[Piece, ...]:
        middle, swing = (self.low_rps + self.high_rps) / 2, (self.high_rps - self.low_rps) / 2
        corners = [middle - swing * math.cos(2 * math.pi * hour / HOURS) for hour in range(HOURS + 1)]
        hours = itertools.pairwise(corners)
        return tuple(Piece(self.day_s / HOURS, low, high) for low, high in hours) * int(self.days)


SHAPES: dict[str, type[Shape]] = {each.kind: each for each in (Steady, Step, Ramp, Spike, Soak, Diurnal)}


def _lasting(*pieces: Piece) -> tuple[Piece, ...]:
    """Those that take time."""
    return tuple(piece for piece in pieces if piece.seconds > 0)


def _several(kind: str, name: str, value: Any) -> tuple[float, ...]:
    """A list of numbers; a number is a list of one, as it is in a line without a slash."""
    value = (value,) if is_finite(value) else value
    if isinstance(value, str) or not isinstance(value, Sequence) or not 0 < len(value) <= _MOST_LEVELS:
        raise ConfigError(f"load.shape: {kind}.{name}: expected a list of 1 to {_MOST_LEVELS} numbers, got {value!r}")
    return tuple(value)


def is_finite(value: object) -> bool:
    """Whether it is a number that JSON has; Python counts True as an int, a load does not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_text, value))
    return f"{value:g}" if isinstance(value, int | float) and float(f"{value:g}") == value else str(value)
