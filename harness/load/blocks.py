"""The records of a load and the gateway's entries side by side, read block by block in the order of the sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.load.access_log import ENTRY_FIELDS
from harness.load.records import RECORD_FIELDS, LoadFiles, Names

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 1 << 16


@dataclass(frozen=True)
class Block:
    """The requests `first`, `first` + 1, ... in aligned arrays; a mark of 0 says that there is nothing.

    `scheduled`: whether the generator says that it made this request. Revisions of both sides are numbers in `names`.
    """

    first: int
    scheduled: NDArray[Any]
    records: NDArray[Any]
    entries: NDArray[Any]
    copies: NDArray[Any]

    def known(self) -> Block:
        """Only the rows that the generator has a record of; `sequences` says which they are."""
        has = self.records["mark"] > 0
        return Block(self.first, self.scheduled[has], self.records[has], self.entries[has], self.copies[has])

    @property
    def sequences(self) -> NDArray[Any]:
        """The sequence of each row; for known rows only."""
        import numpy as np

        return self.records["mark"].astype(np.int64) - 1


def blocks(files: LoadFiles, scheduled: Sequence[int], names: Names, rows: int = ROWS) -> Iterator[Block]:
    """All of a load; `scheduled` has how many requests each of its processes made."""
    import numpy as np

    shares = len(scheduled)
    slots = max(1, rows // shares)
    numbers = [_renumbered(files.revisions(share), names) for share in range(shares)]
    end = max(*map(_slots_of, _all(files, shares)), shares * max(scheduled))
    for first in range(0, end, slots * shares):
        records = np.zeros(slots * shares, list(RECORD_FIELDS))
        for share in range(shares):
            found = _read(files.records(share), RECORD_FIELDS, first // shares, slots)
            found["revision"] = numbers[share][found["revision"]]
            records[share::shares] = found
        wanted = first // shares + np.arange(slots)[:, None] < np.array(scheduled)[None, :]
        entries = _read(files.entries, ENTRY_FIELDS, first, slots * shares)
        copies = _read(files.copies, ENTRY_FIELDS, first, slots * shares)
        yield Block(first, wanted.reshape(-1), records, entries, copies)


def _all(files: LoadFiles, shares: int) -> Iterator[tuple[Path, Sequence[tuple[str, str]], int]]:
    yield from ((files.records(share), RECORD_FIELDS, shares) for share in range(shares))
    yield from ((path, ENTRY_FIELDS, 1) for path in (files.entries, files.copies))


def _slots_of(file: tuple[Path, Sequence[tuple[str, str]], int]) -> int:
    import numpy as np

    path, fields, shares = file
    return path.stat().st_size // np.dtype(list(fields)).itemsize * shares


def _read(path: Path, fields: Sequence[tuple[str, str]], first: int, count: int) -> NDArray[Any]:
    """So many slots; those beyond the file's end are zeros, as are those that were never written."""
    import numpy as np

    layout = np.dtype(list(fields))
    found = np.fromfile(path, layout, count, offset=first * layout.itemsize)
    return np.concatenate([found, np.zeros(count - len(found), layout)])


def _renumbered(path: Path, names: Names) -> NDArray[Any]:
    """The process's number of a revision -> its number in `names`."""
    import numpy as np

    numbers = np.zeros(256, np.uint8)
    for number, name in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        numbers[number] = names.number(name)
    return numbers
