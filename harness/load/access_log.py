"""The gateway's access log, read as it grows: one JSON object a request, one line each.

What it says of a load's requests goes to two files of slots by sequence, 12 bytes little-endian each: mark u8 (0: no
line), flags u8 and revision u8 (numbers of names), attempts u8, status u16, 2 unused bytes, ms f32. gateway.bin has the
last line of each request, copies.bin that of its mirrored copy: Envoy sends a copy with "-shadow" after the host.
"""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path
from typing import Any

from harness.load.records import LoadFiles, Names, Slots

ENTRY = struct.Struct("<BBBBH2xf")
ENTRY_FIELDS = (
    ("mark", "u1"), ("flags", "u1"), ("revision", "u1"), ("attempts", "u1"),
    ("code", "<u2"), ("unused", "<u2"), ("ms", "<f4"),
)  # fmt: skip
SHADOW = "-shadow"
READ_EVERY_S = 0.5
READ_BYTES = 1 << 20  # at a time: what is held in memory of a log of any length
EXAMPLES = 20


class AccessLogTail:
    """Takes the entries of one load, from the log's end when this is made; half a line is left for later.

    Without a `path` there is no log to be had, and no entry.

    Sequences from `most` on are nobody's: `strangers` counts them. `follow` reads in a thread until `close`.
    """

    def __init__(self, path: Path | None, load_id: str, files: LoadFiles, most: int) -> None:
        self.flags, self.revisions = Names(), Names()
        self.taken = 0  # lines of requests, copies left out
        self.strangers = 0
        self.examples: list[int] = []
        self._path = path
        self._prefix = f"{load_id}-"
        self._most = most
        self._offset = path.stat().st_size if path and path.exists() else 0
        self._entries, self._copies = Slots(files.entries, ENTRY.size), Slots(files.copies, ENTRY.size)
        self._reading = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Read every half second in a thread, so that the end of a long load is not the beginning of its reading."""
        self._thread = threading.Thread(target=self._follow, name="access-log", daemon=True)
        self._thread.start()

    @property
    def at_hand(self) -> bool:
        """Whether there is a log."""
        return self._path is not None

    def read(self) -> None:
        """Read the lines that were written since the last time."""
        with self._reading:
            while self._path and self._path.exists() and self._read_some(self._path):
                pass

    def rest(self) -> None:
        """End the thread: from here on `read` and the names are the caller's alone."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """End the thread; the slots stay."""
        self.rest()
        self._entries.close()
        self._copies.close()

    def _follow(self) -> None:
        while not self._closed.wait(READ_EVERY_S):
            try:
                self.read()
            except OSError:  # a full disk; the end of the load reads again, and tells
                return

    def _read_some(self, path: Path) -> bool:
        """Whether there may be more."""
        with path.open("rb") as log:
            log.seek(self._offset)
            read = log.read(READ_BYTES)
        whole = read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        mine = self._prefix.encode()
        for line in whole.split(b"\n"):
            if mine in line and (fields := _parse(line)):
                self._take(fields)
        return len(whole) > 0

    def _take(self, fields: dict[str, Any]) -> None:
        request_id = str(fields.get("id") or "")
        number = request_id[len(self._prefix) :]
        if not (request_id.startswith(self._prefix) and number.isdecimal()):
            return
        sequence = int(number)
        if sequence >= self._most:
            self.strangers += 1
            self.examples = [*self.examples, sequence][:EXAMPLES]
        elif _text(fields.get("host")).partition(":")[0].endswith(SHADOW):
            self._copies.write(sequence, self._entry(fields))
        else:
            self._entries.write(sequence, self._entry(fields))
            self.taken += 1

    def _entry(self, fields: dict[str, Any]) -> bytes:
        flags, revision, cluster = (_text(fields.get(name)) for name in ("flags", "revision", "cluster"))
        return ENTRY.pack(
            1,
            self.flags.number(flags),
            self.revisions.number(revision or cluster.rpartition("/")[2]),
            min(255, int(fields.get("attempts") or 0)),
            int(fields.get("code") or 0),
            float(fields.get("ms") or 0.0),
        )


def requests_to(path: Path, host: str) -> int:
    """How many requests the log has for a host, mirrored copies of them included."""
    if not path.exists():
        return 0
    with path.open("rb") as log:
        whole = (line for line in log if line.endswith(b"\n") and host.encode() in line)
        return sum((_parse(line) or {}).get("host") in (host, f"{host}{SHADOW}") for line in whole)


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line's fields; one that a killed gateway left unfinished may have the next one's line at its end."""
    for start in (0, line.rfind(b"{")):
        try:
            fields = json.loads(line[start:])
        except ValueError:
            continue
        return fields if isinstance(fields, dict) else None
    return None


def _text(value: object) -> str:
    """Envoy writes null or "-" for what there is none of."""
    return "" if value in (None, "-") else str(value)
