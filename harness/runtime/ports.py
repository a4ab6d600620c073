"""Free ports on the loopback address."""

from __future__ import annotations

import socket

import psutil

from harness.errors import CapabilityMissing

LOOPBACK = "127.0.0.1"
_FREE = "end what holds so many, or widen net.ipv4.ip_local_port_range"


def reserve() -> int:
    """A port that nobody listens on now.

    Somebody may take it before its user binds it: the starter of a component retries with another port when the
    component says that its address is in use. Programs that accept port 0 should be given 0 instead.
    """
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, 0))
        except OSError as error:
            raise CapabilityMissing(f"No port of {LOOPBACK} is free: {error.strerror}.", hint=_FREE) from error
        return int(probe.getsockname()[1])


def listens(pid: int, port: int) -> bool:
    """Whether this process, or one that it has started, listens on the port; an answer alone may be a stranger's."""
    listening = {
        each.pid
        for each in psutil.net_connections(kind="tcp")
        if each.status == psutil.CONN_LISTEN and tuple(each.laddr)[1:] == (port,)
    }
    try:
        started = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    return not listening.isdisjoint({pid, *(process.pid for process in started)})
