"""What the page says of a closed loop's rounds: how long each part took, and how good the answers were meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.plots import bar
from harness.report.record import LoopRound, MetricRecord

HELPED = ("recovered", "better, and still alerting")

PARTS = (
    ("noticed", "alerted_at", "an alert was told of the shift"),
    ("gathered", "gathered_at", "enough fresh rows had a label"),
    ("retrained", "trained_at", "a new version was registered"),
    ("judged", "judged_at", "the promotion gate had spoken"),
    ("released", "released_at", "the new version had all traffic"),
    ("ended", "ended_at", "quality was proven and the alerts were over, or the round was given up"),
)
"""A part of a round, the moment at which it was over, and what that moment is."""


def helped(round_: LoopRound) -> bool:
    return round_.outcome in HELPED


def began(round_: LoopRound) -> float:
    """When the shift began, or what is known of it."""
    return round_.since if round_.shift_at is None else round_.shift_at


def parts(round_: LoopRound) -> Iterator[tuple[str, str, float, float, str]]:
    """(part, what it waited for, seconds that it took, seconds since the beginning at its end, its bar)."""
    last = start = began(round_)
    span = max(getattr(round_, name) or start for _, name, _ in PARTS) - start
    for part, name, words in PARTS:
        moment: float | None = getattr(round_, name)
        if moment is None:
            continue
        state = "passed" if name != "ended_at" or helped(round_) else "failed"
        yield part, words, moment - last, moment - start, bar(last - start, moment - last, span, state)
        last = moment


def qualities(round_: LoopRound) -> list[tuple[str, MetricRecord]]:
    """What was known of the quality, in the order of time."""
    named = (
        ("the old version, before the shift", round_.before),
        ("the old version, on the shifted rows", round_.during),
        (f"version {round_.version}, on the rows that it answered", round_.after),
    )
    return [(words, metric) for words, metric in named if metric is not None]
