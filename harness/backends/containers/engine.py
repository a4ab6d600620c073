"""What this machine must have for the containers world: an engine that is new enough, and the images."""

from __future__ import annotations

import re

from harness import images
from harness.errors import CapabilityMissing
from harness.images.engine import Engine, probe, require_room
from harness.runtime.ports import reserve

OLDEST = (20, 10)
MEMORY_GIB = 2.0
"""Free memory that a run takes at its peak, under load."""
DISK_GIB = 1.0


def require() -> Engine:
    """The engine, with room for a run, all images and a free port; CapabilityMissing, one line, for what is missing."""
    engine = probe()
    if (found := version(engine.version)) and found < OLDEST:
        raise CapabilityMissing(
            f"Docker {engine.version} is too old: {OLDEST[0]}.{OLDEST[1]} or later is needed.",
            hint="install a later Docker Engine",
        )
    require_room(engine, memory_gib=MEMORY_GIB, disk_gib=DISK_GIB)
    images.container_images()
    reserve()
    return engine


def version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version; none of a text that has none, such as a development build's."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()
