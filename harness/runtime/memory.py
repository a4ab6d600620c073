"""How much memory a run takes: this process and everything below it, at its peak."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

EVERY_S = 0.5
MB = 1_000_000


class MemoryMeter:
    """Samples the proportional set size (PSS) of the process tree; shared pages of forked processes count once.

    PSS and not RSS, because a fork shares the pages of its nursery: adding up RSS would count them again and again.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.peak_mb = max(self.peak_mb, tree_mb())


def tree_mb() -> float:
    """Proportional set size of this process and its descendants, in MB (10^6 bytes)."""
    me = psutil.Process()
    return sum(_pss(process) for process in [me, *me.children(recursive=True)]) / MB


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
