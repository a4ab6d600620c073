"""The text of a histogram is HdrHistogram's own: what its library reads, and what it writes, are the same counts."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from harness.load.hdr import decode, encode
from harness.load.histogram import MOST, Histogram


def counted(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add(np.array(values, np.int64))
    return histogram


VALUES = np.random.default_rng(3).lognormal(8, 2, 2_000).astype(np.int64).tolist()


@pytest.mark.parametrize("values", [[], [0], [1, 1, 1], [2047, 2048, 2049, MOST], VALUES])
def test_the_library_reads_what_we_write(values: list[int]) -> None:
    """The count of each value's bucket."""
    ours = counted(values)
    theirs = HdrHistogram.decode(encode(ours.counts))
    assert theirs.get_total_count() == len(values)
    assert [theirs.get_count_at_value(value) for value in values] == [
        int(ours.counts[np.flatnonzero(counted([value]).counts)[0]]) for value in values
    ]


def test_we_read_what_the_library_writes() -> None:
    """The counts, bucket for bucket."""
    theirs = HdrHistogram(1, MOST, 3)
    for value in VALUES:
        theirs.record_value(value)
    assert (decode(theirs.encode()) == counted(VALUES).counts).all()


def test_another_layout_is_refused() -> None:
    """Two significant digits have other buckets."""
    with pytest.raises(ValueError, match="three significant digits"):
        decode(HdrHistogram(1, 1000, 2).encode())


def test_a_decoded_histogram_has_the_percentiles_of_the_first() -> None:
    """And the spectrum ends with the largest value, as far as its bucket tells it."""
    first = counted(VALUES)
    again = Histogram.of(decode(encode(first.counts)))
    assert again.percentiles_ms((50, 99)) == first.percentiles_ms((50, 99))
    spectrum = again.spectrum()
    assert spectrum[-1][0] == 100.0
    assert spectrum[-1][1] == pytest.approx(max(VALUES) / 1e3, rel=1e-3)
    assert [ms for _, ms in spectrum] == sorted(ms for _, ms in spectrum)
    assert Histogram().spectrum() == []
