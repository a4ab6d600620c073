"""Latency of a load: percentiles by revision, and a series by second; milliseconds from the intended send.

Percentiles are of the requests that were answered; numpy is imported when called, to keep the facade light.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from harness.load.ledger import Sent
from harness.load.records import NEVER_SENT
from harness.report.record import LatencySummary

NO_REVISION = "none"  # answered by nobody, or by the gateway itself


def summaries(sent: Sequence[Sent]) -> tuple[LatencySummary, ...]:
    """One summary for each revision, in the order of their names."""
    return tuple(_summary(revision, group) for revision, group in sorted(_by_revision(sent).items()))


def series(sent: Sequence[Sent]) -> tuple[dict[str, float | str], ...]:
    """One entry for each second of the load and revision: t_s, revision, requests, failed, p50_ms, p99_ms."""
    cells: dict[tuple[int, str], list[Sent]] = defaultdict(list)
    for request in sent:
        cells[request.intended_us // 1_000_000, request.revision or NO_REVISION].append(request)
    return tuple(_point(second, revision, group) for (second, revision), group in sorted(cells.items()))


def schedule_delay_ms(sent: Sequence[Sent]) -> tuple[float, float]:
    """The median and 99th percentile of how late requests left the generator."""
    late = [request.sent_us - request.intended_us for request in sent]
    p50, p99 = percentiles(late, (50, 99))
    return p50, p99


def achieved_rps(sent: Sequence[Sent]) -> float:
    """The rate of the requests that left, from the first to the last of them; 0 if fewer than two did."""
    left = [request.sent_us for request in sent if request.error not in NEVER_SENT]
    span_us = max(left) - min(left) if left else 0
    return (len(left) - 1) / span_us * 1e6 if span_us else 0.0


def percentiles(microseconds: Sequence[int], shares: Sequence[float]) -> list[float]:
    """Percentiles in milliseconds (linear interpolation between order statistics); zeros if there are no values."""
    import numpy as np

    if not microseconds:
        return [0.0] * len(shares)
    return [round(float(value) / 1e3, 3) for value in np.percentile(np.asarray(microseconds), shares)]


def _summary(revision: str, group: Sequence[Sent]) -> LatencySummary:
    p50, p90, p99, largest = percentiles(_answered(group), (50, 90, 99, 100))
    failed = sum(request.failed for request in group)
    return LatencySummary(
        revision=revision, requests=len(group), failed=failed, p50_ms=p50, p90_ms=p90, p99_ms=p99, max_ms=largest
    )


def _point(second: int, revision: str, group: Sequence[Sent]) -> dict[str, float | str]:
    p50, p99 = percentiles(_answered(group), (50, 99))
    failed = sum(request.failed for request in group)
    return {
        "t_s": second, "revision": revision, "requests": len(group), "failed": failed, "p50_ms": p50, "p99_ms": p99,
    }  # fmt: skip


def _answered(group: Sequence[Sent]) -> list[int]:
    return [request.latency_us for request in group if request.status]


def _by_revision(sent: Sequence[Sent]) -> dict[str, list[Sent]]:
    groups: dict[str, list[Sent]] = defaultdict(list)
    for request in sent:
        groups[request.revision or NO_REVISION].append(request)
    return groups
