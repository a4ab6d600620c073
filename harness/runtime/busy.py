"""Whether this machine has more to do than it can: then latencies say little about a model."""

from __future__ import annotations

import os

MOST_PER_CORE = 1.5
"""A rehearsal by itself keeps two cores below this."""


def busy_machine() -> str:
    """The load average of the last minute in words, if it is above MOST_PER_CORE; "" if it is not."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    return f"the machine is busy: load average {load:.1f} on {cores} cores" if load > MOST_PER_CORE * cores else ""
