"""A server that keeps the CloudEvents that payload loggers send."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Keeps each event's headers, in lower case, and its body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.events: list[tuple[dict[str, str], bytes]] = []

    @property
    def ids(self) -> list[str]:
        """The events' ids, in the order in which they came."""
        return [headers["ce-id"] for headers, _ in self.events]


class _Keep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        server.events.append(({key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that serves while the block lasts."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
