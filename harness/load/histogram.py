"""Percentiles of any number of durations in fixed memory: a histogram in the manner of HdrHistogram (Tene).

A value in whole microseconds has the bucket of its leading 11 bits: values below 2,048 us are exact, above that a
bucket is at most 1/1024 of its value wide, and its middle is at most 0.05 % from any value in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = 11
_HALF = 1 << (BITS - 1)
_MOST = 2**40 - 1  # 12 days; what is longer counts as that
_BUCKETS = (40 - BITS + 2) * _HALF
RELATIVE_ERROR = 0.5 / _HALF


class Histogram:
    """Counts of durations in whole microseconds."""

    def __init__(self) -> None:
        import numpy as np

        self.counts: NDArray[np.int64] = np.zeros(_BUCKETS, np.int64)
        self.largest = 0

    def add(self, microseconds: NDArray[np.int64]) -> None:
        """Count an array of values of at least 0."""
        import numpy as np

        if len(microseconds):
            found, counts = np.unique(_bucket(np.minimum(microseconds, _MOST)), return_counts=True)
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


def _bucket(values: NDArray[np.int64]) -> NDArray[Any]:
    import numpy as np

    # frexp is exact: v = m * 2**e with 0.5 <= m < 1, so e is the number of bits for all v below 2**53.
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    octave = np.maximum(0, bits - BITS)
    return np.asarray(octave * _HALF + (values >> octave))


def _middle(bucket: int) -> float:
    octave = max(0, bucket // _HALF - 1)
    lowest = (bucket - octave * _HALF) << octave
    return lowest + ((1 << octave) - 1) / 2
