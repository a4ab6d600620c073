"""Latency by revision and by second, from the client's records."""

from __future__ import annotations

import pytest

from harness.load.latency import achieved_rps, schedule_delay_ms, series, summaries
from harness.load.ledger import Sent
from harness.load.records import Failure


def sent(sequence: int, revision: str = "v1", ms: float = 1.0, status: int = 200, late_us: int = 0) -> Sent:
    due = sequence * 10_000
    error = Failure.NONE if status else Failure.OVERLOADED
    return Sent(sequence, status, revision, error, due, due + late_us, int(ms * 1000))


def test_each_revision_has_its_own_percentiles() -> None:
    """100 requests of 1 to 100 ms on v1 and one of 7 ms on v2."""
    found = summaries([*(sent(i, ms=i + 1) for i in range(100)), sent(100, "v2", 7)])
    v1, v2 = found
    assert (v1.revision, v1.requests, v1.failed) == ("v1", 100, 0)
    assert (v1.p50_ms, v1.p90_ms, v1.p99_ms, v1.max_ms) == pytest.approx((50.5, 90.1, 99.01, 100.0))
    assert (v2.p50_ms, v2.max_ms) == (7.0, 7.0)


def test_errors_count_as_failed_and_requests_without_an_answer_have_no_latency() -> None:
    """A request that was never sent would make the median look fast."""
    (v1,) = summaries([sent(0, ms=5), sent(1, ms=5, status=500), sent(2, ms=5, status=404)])
    (nobody,) = summaries([sent(3, "", ms=0, status=0)])
    assert (v1.requests, v1.failed, v1.p50_ms) == (3, 2, 5.0)
    assert (nobody.revision, nobody.failed, nobody.p50_ms) == ("none", 1, 0.0)


def test_the_series_has_one_point_a_second_and_revision() -> None:
    """250 requests at 100 a second, every tenth on v2."""
    points = series([sent(i, "v2" if i % 10 == 0 else "v1") for i in range(250)])
    assert [(point["t_s"], point["revision"], point["requests"]) for point in points] == [
        (0, "v1", 90), (0, "v2", 10), (1, "v1", 90), (1, "v2", 10), (2, "v1", 45), (2, "v2", 5),
    ]  # fmt: skip


def test_the_generators_own_lateness_is_told_apart() -> None:
    """99 requests left on time, one 4 ms late."""
    p50, p99 = schedule_delay_ms([*(sent(i) for i in range(99)), sent(99, late_us=4000)])
    assert p50 == 0.0
    assert p99 == pytest.approx(0.04)


def test_the_achieved_rate_is_of_the_requests_that_left() -> None:
    """100 a second were due, every other one left."""
    assert achieved_rps([sent(i) for i in range(101)]) == pytest.approx(100.0)
    half = [sent(i) if i % 2 == 0 else sent(i, "", status=0) for i in range(101)]
    assert achieved_rps(half) == pytest.approx(50.0)
    assert achieved_rps([]) == achieved_rps([sent(0)]) == 0.0
