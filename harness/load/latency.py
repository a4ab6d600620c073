"""Latency of a load: percentiles by revision and of all; milliseconds from the intended send.

Percentiles are of the requests that were answered. numpy is imported when called, to keep the facade light.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.load.hdr import encode
from harness.load.histogram import Histogram
from harness.load.records import NEVER_SENT
from harness.report.record import LatencySummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_REVISION = "none"  # answered by nobody, or by the gateway itself
ALL = "all"


def failed(records: NDArray[Any]) -> NDArray[Any]:
    """Without an answer, or with a status of 400 or above: the load sends nothing that may be refused."""
    import numpy as np

    return np.asarray((records["status"] == 0) | (records["status"] >= 400))


def left(records: NDArray[Any]) -> NDArray[Any]:
    """Which of the requests were sent at all."""
    import numpy as np

    return ~np.isin(records["error"], list(NEVER_SENT))


@dataclass
class Revision:
    """What is counted of one revision."""

    requests: int = 0
    failed: int = 0
    answered: Histogram = field(default_factory=Histogram)

    def add(self, records: NDArray[Any]) -> None:
        self.requests += len(records)
        self.failed += int(failed(records).sum())
        self.answered.add(records["latency_us"][records["status"] > 0])


class Latencies:
    """Counts of a load by revision, in fixed memory; `names`: number -> revision."""

    def __init__(self) -> None:
        self.revisions: dict[int, Revision] = defaultdict(Revision)
        self.all = Revision()
        self.delay = Histogram()
        self._left = 0
        self._first_us = self._last_us = 0

    def add(self, records: NDArray[Any]) -> None:
        import numpy as np

        for number in np.unique(records["revision"]):
            self.revisions[int(number)].add(records[records["revision"] == number])
        self.all.add(records)
        self.delay.add(records["sent_us"] - records["intended_us"])
        sent = records["sent_us"][left(records)]
        if len(sent):
            self._first_us = min(self._first_us, int(sent.min())) if self._left else int(sent.min())
            self._last_us = max(self._last_us, int(sent.max()))
            self._left += len(sent)

    def summaries(self, names: list[str]) -> tuple[LatencySummary, ...]:
        """One summary for each revision, in the order of their names."""
        found = ((names[number] or NO_REVISION, counted) for number, counted in self.revisions.items())
        return tuple(_summary(name, counted) for name, counted in sorted(found, key=lambda pair: pair[0]))

    def overall(self) -> LatencySummary:
        """Of all requests, whoever answered."""
        return _summary(ALL, self.all)

    @property
    def achieved_rps(self) -> float:
        """The rate of the requests that left, from the first to the last of them; 0 if fewer than two did."""
        span_us = self._last_us - self._first_us
        return (self._left - 1) / span_us * 1e6 if span_us else 0.0


def _summary(revision: str, counted: Revision) -> LatencySummary:
    p50, p90, p99, p999 = counted.answered.percentiles_ms((50, 90, 99, 99.9))
    return LatencySummary(
        revision=revision,
        requests=counted.requests,
        failed=counted.failed,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=counted.answered.largest / 1e3,
        p999_ms=p999,
        histogram=encode(counted.answered.counts),
    )
