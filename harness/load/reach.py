"""Whether a target takes connections at all: asked before a load, so that nobody waits for a test that cannot be."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from harness.errors import UsageError

WITHIN_S = 1.5
_PORTS = {"http": 80, "https": 443}


def require_reachable(url: str, within_s: float = WITHIN_S) -> None:
    """Raise UsageError if nothing at the URL's host and port takes a connection in time."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"load: {url!r} is no target; expected http://HOST:PORT")
    try:
        port = parts.port or _PORTS[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=within_s).close()
    except ValueError as error:  # a port beyond 65535
        raise UsageError(f"load: {url!r} is no target: {error}") from None
    except TimeoutError:
        raise UsageError(f"load: {url} takes no connection within {within_s:g} s", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"load: {url}: {error.strerror or error}", hint=_HINT) from None


_HINT = "rehearse status lists what runs here, with its address."
