"""Whether a target takes connections at all: asked before a load, so that nobody waits for a test that cannot be."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.runtime.clock import Deadline

WITHIN_S = 1.5
_PORTS = {"http": 80, "https": 443}
_HINT = "rehearse status lists what runs here, with its address."


def require_reachable(url: str, within_s: float = WITHIN_S) -> None:
    """Raise UsageError if nothing at the URL's host and port takes a connection in time, for all its addresses."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"load: {url!r} is no target; expected http://HOST:PORT")
    deadline = Deadline.after(within_s)
    try:
        port = parts.port or _PORTS[parts.scheme]
        _connect(_addresses(parts.hostname, port, deadline), deadline)
    except ValueError as error:  # a port beyond 65535
        raise UsageError(f"load: {url!r} is no target: {error}") from None
    except TimeoutError:
        raise UsageError(f"load: {url} takes no connection within {within_s:g} s", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"load: {url}: {error.strerror or error}", hint=_HINT) from None


def _addresses(host: str, port: int, deadline: Deadline) -> list[Any]:
    """As socket.getaddrinfo has them; in a thread that nobody waits for, because that takes no timeout."""
    found: list[Any] = []

    def resolve() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=resolve, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline.remaining_s())
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    return list(found[0])


def _connect(addresses: Sequence[Any], deadline: Deadline) -> None:
    """Try all at once, until one is taken; else the last refusal, or TimeoutError."""
    refused: OSError = TimeoutError()
    with contextlib.ExitStack() as opened:
        trying = []
        for family, kind, protocol, _, address in addresses:
            try:
                each = opened.enter_context(socket.socket(family, kind, protocol))
                each.setblocking(False)
                each.connect(address)
            except BlockingIOError:  # under way
                trying.append(each)
            except OSError as error:  # such as a machine without IPv6
                refused = error
            else:
                return
        while trying:
            _, answered, _ = select.select([], trying, [], deadline.remaining_s())
            if not answered:
                raise TimeoutError
            for each in answered:
                if not (code := each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    return
                refused = OSError(code, os.strerror(code))
                trying.remove(each)
    raise refused
