"""How much memory a run takes: this process and everything below it, at its peak."""

from __future__ import annotations

import psutil

from harness.runtime.sampler import Sampler

EVERY_S = 0.5
MB = 1_000_000


class MemoryMeter(Sampler):
    """Samples the proportional set size (PSS) of the process tree; shared pages of forked processes count once.

    PSS and not RSS, because a fork shares the pages of its nursery: adding up RSS would count them again and again.
    """

    def __init__(self) -> None:
        super().__init__("memory", EVERY_S)
        self.peak_mb = 0.0

    def take(self) -> None:
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
