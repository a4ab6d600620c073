"""The files of a load: fixed-size records by sequence, so that no process keeps requests in memory.

records-<share>.bin, written by one generator process while it runs; 32 bytes little-endian at slot sequence // shares:
sequence + 1 u32 (0: nothing was recorded here), status u16 (0: no answer), revision u8 (1-based line of
revisions-<share>.txt, 0: none), error u8 (Failure), then intended send, actual send and latency from the intended send,
i64 microseconds each; times count from the load's origin. The requests of share k of n are k, k + n, k + 2n, ...
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO, Any

RECORD = struct.Struct("<IHBBqqq")
RECORD_FIELDS = (
    ("mark", "<u4"), ("status", "<u2"), ("revision", "u1"), ("error", "u1"),
    ("intended_us", "<i8"), ("sent_us", "<i8"), ("latency_us", "<i8"),
)  # fmt: skip
BATCH = 128
MOST_NAMES = 255  # what a u8 can tell apart; names beyond are all the last one


class Failure(IntEnum):
    """Why a request has no answer."""

    NONE = 0
    TIMEOUT = 1
    DISCONNECTED = 2
    NO_CONNECTION = 3  # the gateway could not be reached: nothing was sent
    OVERLOADED = 4  # too many requests were in flight: not sent
    ABANDONED = 5  # still in flight when the load ended


NEVER_SENT = {Failure.NO_CONNECTION: "no connection", Failure.OVERLOADED: "too many in flight"}


@dataclass(frozen=True)
class LoadFiles:
    """The files of one load in its folder; those with a number belong to one generator process."""

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "spec.json"

    @property
    def go(self) -> Path:
        """{"origin": when all begin, time.monotonic(); "started_at": the same in Unix seconds}."""
        return self.folder / "go.json"

    def records(self, share: int) -> Path:
        return self.folder / f"records-{share}.bin"

    def revisions(self, share: int) -> Path:
        return self.folder / f"revisions-{share}.txt"

    def ready(self, share: int) -> Path:
        """Appears when the process waits for `go`."""
        return self.folder / f"ready-{share}.json"

    def started(self, share: int) -> Path:
        """Appears when a first request has reached the gateway and ended."""
        return self.folder / f"started-{share}.json"

    def audit(self, share: int) -> Path:
        """Renewed every half second; see harness.load.audit."""
        return self.folder / f"audit-{share}.json"

    def finished(self, share: int) -> Path:
        """Appears when all records are written: requests, left (sent), duration_s, cpu, cpu_by_second."""
        return self.folder / f"finished-{share}.json"

    def failed(self, share: int) -> Path:
        """Appears when the schedule met an error: {"error": its type and message}; the records end there."""
        return self.folder / f"failed-{share}.json"

    @property
    def entries(self) -> Path:
        """What the gateway's log says of each request, by sequence; harness.load.access_log has the layout."""
        return self.folder / "gateway.bin"

    @property
    def copies(self) -> Path:
        """The same of mirrored copies."""
        return self.folder / "copies.bin"


class Slots:
    """A file of fixed-size slots; one that was never written reads as zeros, and takes no space on disk."""

    def __init__(self, path: Path, size: int) -> None:
        self._size = size
        self._file = path.open("w+b", buffering=0)

    def write(self, slot: int, content: bytes) -> None:
        os.pwrite(self._file.fileno(), content, slot * self._size)

    def close(self) -> None:
        self._file.close()


class Names:
    """Names as numbers that fit a u8, from 1; 0 is no name. With a file, one line each, for who reads it later."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None
        self._index: dict[str, int] = {"": 0}

    def number(self, name: str) -> int:
        index = self._index.get(name)
        return self._learn(name) if index is None else index

    def listed(self) -> list[str]:
        """Number -> name."""
        return list(self._index)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _learn(self, name: str) -> int:
        if len(self._index) > MOST_NAMES:
            return MOST_NAMES
        self._index[name] = len(self._index)
        if self._file is not None:
            self._file.write(name + "\n")
            self._file.flush()
        return self._index[name]


class Recorder:
    """Writes the records of one share, some at a time: a system call for each would cost a tenth of the throughput.

    Answers come nearly in the order of the requests, so most of a batch is one piece of the file.
    """

    def __init__(self, files: LoadFiles, share: int = 0, shares: int = 1) -> None:
        self._slots = Slots(files.records(share), RECORD.size)
        self._names = Names(files.revisions(share))
        self._shares = shares
        self._batch: dict[int, bytes] = {}

    def write(
        self, sequence: int, intended_us: int, sent_us: int, latency_us: int, status: int, revision: str, error: int
    ) -> None:
        self._batch[sequence // self._shares] = RECORD.pack(
            sequence + 1, status, self._names.number(revision), error, intended_us, sent_us, latency_us
        )
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Put into the file what was written since the last time."""
        batch, self._batch = self._batch, {}
        slots = sorted(batch)
        first = 0
        for after in range(1, len(slots) + 1):
            if after == len(slots) or slots[after] != slots[after - 1] + 1:
                self._slots.write(slots[first], b"".join([batch[slot] for slot in slots[first:after]]))
                first = after

    def close(self) -> None:
        self.flush()
        self._slots.close()
        self._names.close()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target and rename, so that a reader sees all of it or nothing, whoever else writes it."""
    half = path.with_suffix(f".{os.getpid()}.part")
    half.write_text(json.dumps(content), encoding="utf-8")
    half.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
