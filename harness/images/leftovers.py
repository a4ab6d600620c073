"""What builds leave in Docker: the containers of one that was killed, and images whose name a newer one took.

The containers that images are made in are named by who makes them: a label would stay in the image that one becomes.
"""

from __future__ import annotations

from harness.errors import CapabilityMissing
from harness.images.engine import docker
from harness.images.making import LABEL
from harness.runtime.owner import Owner

_PREFIX, _MADE_BY = "rehearsal-build", "--"
_REMOVE_S = 60.0


def container_name(item: str) -> str:
    """What the container is called in which this process makes an item."""
    return f"{_PREFIX}-{item.rpartition('/')[2].partition(':')[0]}{_MADE_BY}{Owner.me()}"


def collect() -> list[str]:
    """Remove the containers whose makers are known to be dead; their names. Without an engine there are none."""
    try:
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{_PREFIX}-").split()
    except CapabilityMissing:
        return []
    left = [name for name in names if (maker := _maker(name)) and maker.dead()]
    for name in left:
        docker("rm", "--force", "--volumes", name, timeout_s=_REMOVE_S)
    return left


def prune() -> None:
    """Remove the images that were made here and have lost their name, unless a container is made of one."""
    docker("image", "prune", "--force", "--filter", f"label={LABEL}")


def _maker(name: str) -> Owner | None:
    return Owner.parse(name.partition(_MADE_BY)[2])
