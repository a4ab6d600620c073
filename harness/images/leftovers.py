"""What builds leave in Docker: the containers of one that was killed, and images whose name a newer one took.

The containers that images are made in are named by who makes them: a label would stay in the image that one becomes.
"""

from __future__ import annotations

import os

from harness.errors import CapabilityMissing
from harness.images.engine import docker
from harness.images.making import LABEL
from harness.runtime.identity import Identity

_PREFIX = "rehearsal-build"
_REMOVE_S = 60.0


def container_name(item: str) -> str:
    """What the container is called in which this process makes an item."""
    maker = Identity.of(os.getpid())
    return f"{_PREFIX}-{item.rpartition('/')[2].partition(':')[0]}-{maker.pid}-{maker.start}"


def collect() -> list[str]:
    """Remove the containers whose makers are dead; their names. Without an engine there are none."""
    try:
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{_PREFIX}-").split()
    except CapabilityMissing:
        return []
    left = [name for name in names if not _maker(name).alive()]
    for name in left:
        docker("rm", "--force", "--volumes", name, timeout_s=_REMOVE_S)
    return left


def prune() -> None:
    """Remove the images that were made here and have lost their name, unless a container is made of one."""
    docker("image", "prune", "--force", "--filter", f"label={LABEL}")


def _maker(name: str) -> Identity:
    _, pid, start = name.rsplit("-", 2)
    return Identity(int(pid), int(start))
