"""The process beside the server that makes Parquet of sealed segments, so that this never delays an acknowledgement.

    python -P -m harness.prediction_log.compactor FOLDER KEEP_DAYS

It reads a segment's path a line from its standard input, answers a line when its events are Parquet, and ends with the
input: when the server dies, whatever of it, so does this.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from harness.prediction_log import parts, wal

DAY_S = 86_400.0


def compact(folder: Path, sealed: Path, keep_days: float) -> None:
    """Make Parquet of a segment and of what older ones there still are, and have a spare segment ready.

    Parts whose newest event is too old are dropped.
    """
    for segment in wal.segments(folder):
        if wal.number(segment) <= wal.number(sealed):
            parts.write(folder, segment)
    for part in parts.listed(folder):
        if part.last < time.time() - keep_days * DAY_S:
            part.path.unlink(missing_ok=True)
    spare(folder)


def spare(folder: Path) -> None:
    """Have a spare segment ready where there is room for one: without it commits are slower, and no less safe."""
    with contextlib.suppress(OSError):
        wal.make_spare(folder)


def main(argv: list[str]) -> None:
    folder, keep_days = Path(argv[0]), float(argv[1])
    os.nice(10)
    spare(folder)
    for line in sys.stdin:
        segment = Path(line.rstrip("\n"))
        try:
            compact(folder, segment, keep_days)
        except OSError as error:  # a full disk: the segment stays, and is tried again with the next one
            print(f"{segment.name} stays in the write-ahead log: {error}", file=sys.stderr, flush=True)
        try:
            print(segment.name, flush=True)
        except BrokenPipeError:  # the server died meanwhile
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
