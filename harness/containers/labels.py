"""The labels by which a container, a network or a volume of ours is known, also after its maker was killed."""

from __future__ import annotations

from collections.abc import Mapping

from harness.runtime.owner import Owner

OWNER = "rehearsal.dev/maker"
"""Who made it, as harness.runtime.owner tells it.

Not the label of a kind cluster's network, which may outlive its maker.
"""
RUN = "rehearsal.dev/run"
"""The run that it is for."""
STORE = "rehearsal.dev/store"
"""The kept database server that it belongs to, or stands at."""
KEEPER = "rehearsal.dev/keeper"
"""Who made what may outlive its maker, and so has no label OWNER."""
STATE = "rehearsal.dev/store-state"
"""The state file of a kept database server."""


def owned(run: str = "") -> dict[str, str]:
    """The labels of what this process makes, for a run if it has one."""
    return {OWNER: str(Owner.me()), **({RUN: run} if run else {})}


def owner(labels: Mapping[str, str]) -> Owner | None:
    """Who made what has these labels; None if they do not say."""
    return Owner.parse(labels.get(OWNER, ""))
