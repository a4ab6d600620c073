"""What the generator writes while it runs: one fixed-size record a request, so that memory does not grow with them.

Layout, little-endian, 32 bytes: sequence u32, status u16 (0: no answer), revision u8 (1-based line of the revisions
file, 0: none), error u8 (Failure), intended send, actual send, latency from the intended send: u64 microseconds each.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO, Any

RECORD = struct.Struct("<IHBBQQQ")


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
    """The files of one load in its folder."""

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "spec.json"

    @property
    def records(self) -> Path:
        return self.folder / "records.bin"

    @property
    def revisions(self) -> Path:
        return self.folder / "revisions.txt"

    @property
    def started(self) -> Path:
        """Appears when a first request has reached the gateway and ended.

        {"started_at": Unix seconds that the microseconds count from}.
        """
        return self.folder / "started.json"

    @property
    def finished(self) -> Path:
        """Appears when all records are written: {"requests": scheduled, "duration_s": from first to last}."""
        return self.folder / "finished.json"

    @property
    def failed(self) -> Path:
        """Appears when the schedule met an error: {"error": its type and message}; the records end there."""
        return self.folder / "failed.json"


class Recorder:
    """Appends records; buffered, so call `flush` now and then."""

    def __init__(self, files: LoadFiles) -> None:
        self._records: IO[bytes] = files.records.open("wb", buffering=1 << 16)
        self._revisions: IO[str] = files.revisions.open("w", encoding="utf-8")
        self._index: dict[str, int] = {"": 0}

    def write(
        self, sequence: int, intended_us: int, sent_us: int, latency_us: int, status: int, revision: str, error: int
    ) -> None:
        index = self._index.get(revision)
        if index is None:
            index = self._learn(revision)
        self._records.write(RECORD.pack(sequence, status, index, error, intended_us, sent_us, latency_us))

    def flush(self) -> None:
        self._records.flush()

    def close(self) -> None:
        self._records.close()
        self._revisions.close()

    def _learn(self, revision: str) -> int:
        self._index[revision] = min(len(self._index), 255)
        self._revisions.write(revision + "\n")
        self._revisions.flush()
        return self._index[revision]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target and rename, so that a reader sees all of it or nothing."""
    half = path.with_suffix(".part")
    half.write_text(json.dumps(content), encoding="utf-8")
    half.rename(path)
