"""Latency by revision and by second, in memory that does not grow with the requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.load.hdr import decode
from harness.load.histogram import RELATIVE_ERROR, Histogram
from harness.load.latency import Latencies
from harness.load.records import RECORD_FIELDS, Failure

NAMES = ["", "v1", "v2"]


def sent(sequence: int, revision: int = 1, ms: float = 1.0, status: int = 200, late_us: int = 0) -> tuple[int, ...]:
    due = sequence * 10_000
    error = Failure.NONE if status else Failure.OVERLOADED
    return (sequence + 1, status, revision, error, due, due + late_us, int(ms * 1000))


def records(*rows: tuple[int, ...]) -> NDArray[Any]:
    return np.array(list(rows), list(RECORD_FIELDS))


def counted(*rows: tuple[int, ...]) -> Latencies:
    latencies = Latencies()
    latencies.add(records(*rows))
    return latencies


def test_each_revision_has_its_own_percentiles() -> None:
    """100 requests of 1 to 100 ms on v1 and one of 7 ms on v2."""
    v1, v2 = counted(*(sent(i, ms=i + 1) for i in range(100)), sent(100, 2, 7)).summaries(NAMES)
    assert (v1.revision, v1.requests, v1.failed) == ("v1", 100, 0)
    assert (v1.p50_ms, v1.p90_ms, v1.p99_ms) == pytest.approx((50, 90, 99), rel=RELATIVE_ERROR)
    assert (v1.max_ms, v2.max_ms) == (100.0, 7.0)


def test_percentiles_are_those_of_all_values_to_a_tenth_of_a_percent() -> None:
    """Latencies from 0.1 ms to 20 s, in pieces, against the exact order statistics."""
    values = np.random.default_rng(7).lognormal(9, 2, 200_000).astype(np.int64)
    histogram = Histogram()
    for piece in np.array_split(values, 7):
        histogram.add(piece)
    shares = (0, 1, 50, 90, 99, 99.9, 100)
    exact = np.percentile(values, shares, method="inverted_cdf") / 1e3
    assert histogram.percentiles_ms(shares) == pytest.approx(exact.tolist(), rel=1e-3, abs=1e-4)
    assert histogram.total == 200_000


def test_below_two_milliseconds_percentiles_are_exact_to_the_microsecond() -> None:
    """What a gateway on the same machine answers in."""
    histogram = Histogram()
    histogram.add(np.arange(1, 2001))
    assert histogram.percentiles_ms((50, 99)) == [1.0, 1.98]


def test_a_histogram_of_nothing_and_one_of_very_long_times() -> None:
    """Zeros; and more than 12 days count as 12 days, with the largest kept as it is."""
    histogram = Histogram()
    assert histogram.percentiles_ms((50,)) == [0.0]
    histogram.add(np.array([2**50]))
    assert histogram.percentiles_ms((50,))[0] == pytest.approx(2**40 / 1e3, rel=1e-3)
    assert histogram.largest == 2**50


def test_errors_count_as_failed_and_requests_without_an_answer_have_no_latency() -> None:
    """A request that was never sent would make the median look fast."""
    (v1,) = counted(sent(0, ms=5), sent(1, ms=5, status=500), sent(2, ms=5, status=404)).summaries(NAMES)
    (nobody,) = counted(sent(3, 0, ms=0, status=0)).summaries(NAMES)
    assert (v1.requests, v1.failed) == (3, 2)
    assert v1.p50_ms == pytest.approx(5.0, rel=RELATIVE_ERROR)
    assert (nobody.revision, nobody.failed, nobody.p50_ms) == ("none", 1, 0.0)


def test_the_summary_of_all_is_of_every_revision() -> None:
    """Ten of v1, one of v2, one that nobody answered."""
    latencies = counted(*(sent(i, ms=i + 1) for i in range(10)), sent(10, 2, 40), sent(11, 0, ms=0, status=0))
    overall = latencies.overall()
    assert (overall.revision, overall.requests, overall.failed, overall.max_ms) == ("all", 12, 1, 40.0)
    assert Histogram.of(decode(overall.histogram)).total == 11


def test_the_generators_own_lateness_is_told_apart() -> None:
    """98 requests left on time, two 1.9 ms late."""
    delay = counted(*(sent(i) for i in range(98)), sent(98, late_us=1900), sent(99, late_us=1900)).delay
    assert delay.percentiles_ms((50, 99)) == [0.0, 1.9]


def test_the_achieved_rate_is_of_the_requests_that_left() -> None:
    """100 a second were due, every other one left; read in two blocks."""
    assert counted(*(sent(i) for i in range(101))).achieved_rps == pytest.approx(100.0)
    half = Latencies()
    for numbers in (range(50), range(50, 101)):
        half.add(records(*(sent(i) if i % 2 == 0 else sent(i, 0, status=0) for i in numbers)))
    assert half.achieved_rps == pytest.approx(50.0)
    assert Latencies().achieved_rps == counted(sent(0)).achieved_rps == 0.0
