"""Percentiles of any number of durations in fixed memory: an HdrHistogram (Tene) of three significant digits.

A value in whole microseconds has the bucket of its leading 11 bits: values below 2,048 us are exact, above that a
bucket is at most 1/1024 of its value wide, and its middle is at most 0.05 % from any value in it. It counts arrays,
because a library that counts value by value takes 2.4 us each (docs/adr/0015); harness.load.hdr writes what it counted
as such a library does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = 11
_HALF = 1 << (BITS - 1)
MOST = 2**40 - 1  # 12 days; what is longer counts as that
BUCKETS = (40 - BITS + 2) * _HALF
RELATIVE_ERROR = 0.5 / _HALF


class Histogram:
    """Counts of durations in whole microseconds."""

    def __init__(self) -> None:
        import numpy as np

        self.counts: NDArray[np.int64] = np.zeros(BUCKETS, np.int64)
        self.largest = 0

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Histogram:
        """With these counts, as harness.load.hdr decodes them; the largest value is known to its bucket."""
        import numpy as np

        histogram = cls()
        histogram.counts = counts
        filled = np.flatnonzero(counts)
        histogram.largest = _highest(int(filled[-1])) if len(filled) else 0
        return histogram

    def add(self, microseconds: NDArray[np.int64]) -> None:
        """Count an array of values of at least 0."""
        import numpy as np

        if len(microseconds):
            found, counts = np.unique(_bucket(np.minimum(microseconds, MOST)), return_counts=True)
            self.counts[found] += counts
            self.largest = max(self.largest, int(microseconds.max()))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def percentiles_ms(self, shares: Sequence[float]) -> list[float]:
        """The smallest values in milliseconds that these percentages of all values do not exceed; zeros if empty."""
        import numpy as np

        upto = np.cumsum(self.counts)
        total = int(upto[-1])
        if not total:
            return [0.0] * len(shares)
        ranks = [min(total, max(1, int(np.ceil(share / 100 * total)))) for share in shares]
        return [round(min(_middle(int(np.searchsorted(upto, rank))), self.largest) / 1e3, 4) for rank in ranks]

    def spectrum(self) -> list[tuple[float, float]]:
        """Percentages and values in milliseconds for a drawing: five points each time the share above halves."""
        total = self.total
        halvings = max(1, total - 1).bit_length()
        above = [2.0 ** -(tick / 5) for tick in range(halvings * 5 + 1)]
        shares = [100 * (1 - share) for share in above] + [100.0]
        return list(zip(shares, self.percentiles_ms(shares), strict=True)) if total else []


def _bucket(values: NDArray[np.int64]) -> NDArray[Any]:
    import numpy as np

    # frexp is exact: v = m * 2**e with 0.5 <= m < 1, so e is the number of bits for all v below 2**53.
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    octave = np.maximum(0, bits - BITS)
    return np.asarray(octave * _HALF + (values >> octave))


def _middle(bucket: int) -> float:
    octave = max(0, bucket // _HALF - 1)
    return _highest(bucket) - ((1 << octave) - 1) / 2


def _highest(bucket: int) -> int:
    """The largest value that has this bucket."""
    octave = max(0, bucket // _HALF - 1)
    return ((bucket - octave * _HALF + 1) << octave) - 1
