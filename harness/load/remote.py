"""A load leaves the machine only when it is told to: an accident with someone else's service is not a rehearsal."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from harness.errors import UsageError


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_leaving(where: str) -> None:
    """Raise UsageError if a load would go to `where`, beyond this machine and without leave; "" is none."""
    if where:
        raise UsageError(f"load would leave this machine, for {where}", hint="allow it with --allow-remote")


def refuse_remote(url: str, *, allowed: bool, own: Collection[str] = ()) -> None:
    """Raise UsageError for a target that is neither this machine nor one of the run's `own` URLs, unless `allowed`."""
    if not (allowed or url in own or is_loopback(url)):
        raise UsageError(
            f"load: {url} is neither this machine nor a gateway of this run",
            hint="--allow-remote sends the load there all the same.",
        )
