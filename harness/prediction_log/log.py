"""The log as its one writer has it: events are offered, then committed together; a commit that fails leaves none."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness.prediction_log import wal
from harness.prediction_log.events import LABEL, REQUEST, RESPONSE, Event, Label

REMEMBERED = 500_000
"""So many ids of events are known, the newest: a copy of one of them is noticed at once, an older one by the reader."""


class Remembered:
    """The newest keys."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: set[str] = set()
        self._order: deque[str] = deque()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, key: str) -> None:
        if key in self._known:
            return
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > self._most:
            self._known.discard(self._order.popleft())

    def forget(self, key: str) -> None:
        """Drop a key that was added last."""
        self._known.discard(key)
        if self._order and self._order[-1] == key:
            self._order.pop()


class PredictionLog:
    """What is on disk, and what of it is known; one process at a time may have it.

    `replayed` are the events that the write-ahead log still had at the start.
    """

    def __init__(self, folder: Path) -> None:
        from harness.prediction_log import parts

        for name in (wal.FOLDER, parts.FOLDER):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for unfinished in chain(folder.glob("*.tmp"), (folder / parts.FOLDER).glob("*.tmp")):
            unfinished.unlink(missing_ok=True)
        self.folder = folder
        self.replayed: list[Event] = []
        self._remembered = Remembered()
        known = parts.listed(folder)
        left = wal.segments(folder)
        for key in _newest_keys(known):
            self._remembered.add(key)
        for segment in left:
            self.replayed += wal.read(segment)
        for event in self.replayed:
            self._remembered.add(event.key)
        self._next = 1 + max([part.number for part in known] + [wal.number(segment) for segment in left], default=0)
        self._pending: list[Event] = []
        self._open()

    def offer(self, event: Event) -> bool:
        """Take an event into the next commit; False if it is known already."""
        if event.kind != LABEL:
            key = event.key
            if key in self._remembered:
                return False
            self._remembered.add(key)
        self._pending.append(event)
        return True

    def knows(self, label: Label) -> bool:
        """Whether the request that a label is of was logged, as far as ids are remembered."""
        place = f"{label.namespace}/{label.service}/{label.id}"
        return f"{RESPONSE}/{place}" in self._remembered or f"{REQUEST}/{place}" in self._remembered

    def commit(self) -> list[Event]:
        """Have the disk keep what was offered, and return that; after an OSError it is as if nothing was offered."""
        pending, self._pending = self._pending, []
        try:
            self._segment.append([wal.encode(event) for event in pending])
        except OSError:
            for event in reversed(pending):
                self._remembered.forget(event.key)
            raise
        return pending

    @property
    def due(self) -> bool:
        """Whether the segment is as large as it should get."""
        return self._segment.size >= wal.SEGMENT_BYTES

    @property
    def age_s(self) -> float:
        """How long the segment has had events; 0 if it has none."""
        return time.monotonic() - self._opened if self._segment.size else 0.0

    def roll(self) -> Path:
        """Seal the segment, begin another and return the sealed one."""
        sealed = self._segment.seal()
        self._open()
        return sealed

    def _open(self) -> None:
        self._segment = wal.Segment(self.folder, self._next)
        self._opened = time.monotonic()
        self._next += 1


def compactor(folder: Path, keep_days: float, python: str) -> subprocess.Popen[str]:
    """Start the process that makes Parquet of sealed segments."""
    argv = [python, "-P", "-m", "harness.prediction_log.compactor", str(folder), str(keep_days)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def _newest_keys(known: list) -> Iterator[str]:  # type: ignore[type-arg]
    """The keys of the newest parts, as many as are remembered or a part more, the oldest first."""
    from harness.prediction_log import parts

    chosen: list[list[str]] = []
    for part in reversed(known):
        chosen.append(list(parts.keys(part)))
        if sum(map(len, chosen)) >= REMEMBERED:
            break
    return chain.from_iterable(reversed(chosen))
