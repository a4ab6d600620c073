"""The labels by which a container, a network or a volume of ours is known, also after its maker was killed."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.runtime.identity import Identity

OWNER = "rehearsal.dev/maker"
"""Who made it: pid:start of the process, as harness.runtime.identity tells it.

Not the label of a kind cluster's network, which may outlive its maker.
"""
RUN = "rehearsal.dev/run"
"""The run that it is for."""


def owned(run: str = "") -> dict[str, str]:
    """The labels of what this process makes, for a run if it has one."""
    me = Identity.of(os.getpid())
    return {OWNER: f"{me.pid}:{me.start}", **({RUN: run} if run else {})}


def owner(labels: Mapping[str, str]) -> Identity:
    """Who made what has these labels; nobody that lives, if they do not say."""
    pid, _, start = labels.get(OWNER, "0:0").partition(":")
    return Identity(int(pid), int(start)) if pid.isdecimal() and start.isdecimal() else Identity(0, 0)
