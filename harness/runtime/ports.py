"""Free ports on the loopback address."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def reserve() -> int:
    """A port that nobody listens on now.

    Somebody may take it before its user binds it: the starter of a component retries with another port when the
    component says that its address is in use. Programs that accept port 0 should be given 0 instead.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
