"""What a child uses of the machine: processor time and memory, its own children's included."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from harness.runtime.process import Child


@dataclass(frozen=True)
class Usage:
    """`processor_s`: seconds of a core since it began; `memory`: resident bytes."""

    processor_s: float
    memory: float


def usage_of(child: Child) -> Usage | None:
    """What a process of this machine has used; None if it is gone."""
    try:
        process = psutil.Process(child.pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(times.user + times.system, float(process.memory_info().rss))
    except psutil.Error:
        return None
