"""Space on the run folder's disk: enough before a run starts, noticed when it runs out, kept for the report."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from harness.errors import PlatformError

MB = 1_000_000
RUN_MB = 40
"""What one run is sure to fit into: the default one was measured at 9 MB while it runs."""
FULL_BELOW_MB = 0.5


def require(folder: Path, needed_mb: float = RUN_MB) -> None:
    """Raise PlatformError if the disk that `folder` lies on, or will lie on, has less than `needed_mb` free."""
    if (free := free_mb(folder)) < needed_mb:
        raise PlatformError(
            f"reports folder: {folder} is on a disk with {free:.0f} MB free; a run needs {needed_mb:.0f} MB.",
            hint="free some space, or name another folder with --reports.",
        )


def full(folder: Path) -> str:
    """Which disk is full, with what is left on it; empty if `folder` lies on one that can be written."""
    free = free_mb(folder)
    return f"the disk of {folder} is full ({free:.1f} MB left)" if free < FULL_BELOW_MB else ""


def free_mb(folder: Path) -> float:
    """MB (10^6 bytes) that this user may still write where `folder` lies, or would be made; infinite if unknown."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    disk = os.statvfs(there)
    return disk.f_bavail * disk.f_frsize / MB if disk.f_blocks else math.inf  # some file systems count no blocks


class Reserve:
    """A file that holds space until it is released, so that the report can be written to a disk that has run full."""

    def __init__(self, path: Path, size_mb: float) -> None:
        self._path = path
        with contextlib.suppress(OSError), path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, int(size_mb * MB))

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
