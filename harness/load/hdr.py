"""A histogram as text that every HdrHistogram library reads: its V2 encoding, compressed, in base64.

    cookie, length | zlib of: cookie, length, offset 0, digits 3, lowest 1, highest 2^40 - 1, ratio 1.0, counts

Counts go from bucket 0 to the last that is not empty, as zigzag LEB128 numbers; a run of n empty buckets is -n. The
buckets are those of harness.load.histogram, which are HdrHistogram's own for three significant digits.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.load.histogram import BUCKETS, MOST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COOKIE, _COMPRESSED = 0x1C849313, 0x1C849314
_HEADER = struct.Struct(">iiiiqqd")
_OUTER = struct.Struct(">ii")
_DIGITS = 3


def encode(counts: NDArray[np.int64]) -> str:
    """The text of a histogram's counts."""
    numbers = b"".join(map(_packed, _runs(counts)))
    inner = zlib.compress(_HEADER.pack(_COOKIE, len(numbers), 0, _DIGITS, 1, MOST, 1.0) + numbers, 9)
    return base64.b64encode(_OUTER.pack(_COMPRESSED, len(inner)) + inner).decode()


def decode(text: str) -> NDArray[np.int64]:
    """The counts of a text that `encode` wrote; ValueError for one of another layout."""
    import numpy as np

    outer = base64.b64decode(text)
    inner = zlib.decompress(outer[_OUTER.size :])
    cookie, length, _, digits, lowest, highest, _ = _HEADER.unpack_from(inner)
    if (cookie, digits, lowest, highest) != (_COOKIE, _DIGITS, 1, MOST):
        raise ValueError("not a histogram of microseconds with three significant digits")
    counts = np.zeros(BUCKETS, np.int64)
    bucket = 0
    for number in _unpacked(inner[_HEADER.size : _HEADER.size + length]):
        if number < 0:
            bucket -= number
        else:
            counts[bucket] = number
            bucket += 1
    return counts


def _runs(counts: NDArray[np.int64]) -> Iterator[int]:
    """Each count that is not 0, and the empty buckets before it as one negative number."""
    import numpy as np

    following = 0
    for bucket in np.flatnonzero(counts).tolist():
        if bucket > following:
            yield following - bucket
        yield int(counts[bucket])
        following = bucket + 1


def _packed(number: int) -> bytes:
    """Zigzag LEB128: seven bits a byte, the lowest first."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def _unpacked(data: bytes) -> Iterator[Any]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value >> 1 if value % 2 == 0 else -(value + 1 >> 1)
            value = shift = 0
