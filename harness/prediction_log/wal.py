"""The write-ahead log: what was appended and synced is there after kill -9, a torn tail is not taken for an event.

A segment is a file of records: length and CRC-32 of what follows (little-endian, four bytes each), a line of fields
that are separated by tabs, and the body. A length of 0 is the end: segments are filled with zeros beforehand where
there was time for that, because syncing an append that makes a file longer takes ten times as long (p99).
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.prediction_log.events import Event

FOLDER, SUFFIX, SPARE = "wal", ".wal", "spare"
SEGMENT_BYTES = 16 * 1024 * 1024
_HEAD = struct.Struct("<II")


def encode(event: Event) -> bytes:
    """One record."""
    fields = (event.kind, event.namespace, event.service, event.revision, repr(event.at), event.id)
    payload = "\t".join(fields).encode() + b"\n" + event.body
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def decode(content: bytes) -> Iterator[Event]:
    """The events of a segment up to its end, or to the first torn record: what came later was not acknowledged."""
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        payload = content[at + _HEAD.size : at + _HEAD.size + length]
        if length == 0 or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        head, _, body = payload.partition(b"\n")
        kind, namespace, service, revision, moment, id_ = head.decode().split("\t")
        yield Event(kind, namespace, service, revision, id_, float(moment), body)
        at += _HEAD.size + length


def segments(folder: Path) -> list[Path]:
    """The segments of a log, the oldest first."""
    return sorted((folder / FOLDER).glob(f"*{SUFFIX}"))


def read(segment: Path) -> list[Event]:
    """A segment's events; none if it has become Parquet meanwhile."""
    try:
        return list(decode(segment.read_bytes()))
    except FileNotFoundError:
        return []


def number(segment: Path) -> int:
    return int(segment.name.removesuffix(SUFFIX))


class Segment:
    """The segment that is written; made from the spare file if there is one."""

    def __init__(self, folder: Path, index: int) -> None:
        self.path = folder / FOLDER / f"{index:012d}{SUFFIX}"
        with contextlib.suppress(FileNotFoundError):
            (folder / SPARE).rename(self.path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.size = 0
        sync_folder(self.path.parent)

    def append(self, records: Sequence[bytes]) -> None:
        """Write records and return once the disk has them; after an OSError (a full disk) none of them is there."""
        content = b"".join(records)
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self.size + written)
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(content)

    def seal(self) -> Path:
        """End it at its last record."""
        os.ftruncate(self._file, self.size)
        os.fsync(self._file)
        os.close(self._file)
        return self.path


def make_spare(folder: Path) -> None:
    """Have a file of zeros ready to become the next segment."""
    spare, beside = folder / SPARE, folder / f"{SPARE}.tmp"
    if spare.exists():
        return
    with beside.open("wb") as file:
        for _ in range(16):
            file.write(bytes(SEGMENT_BYTES // 16))
            file.flush()
            os.fsync(file.fileno())
    beside.rename(spare)


def sync_folder(folder: Path) -> None:
    """Have the disk know the names in a folder: a synced file without a name is lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
