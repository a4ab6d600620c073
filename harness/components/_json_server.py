"""What our small HTTP servers have in common: answers are JSON, connections are kept, nothing is logged."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.components.answers import IDLE_S


class JsonServer(ThreadingHTTPServer):
    """One thread a connection; its end waits for none of them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked may be gone, which is not news; any other error is a defect of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with a status and JSON."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True

    def answer(self, status: int, body: dict[str, Any] | None = None) -> None:
        """Send a whole answer; without a body it is empty."""
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        if self.close_connection:  # else who asked would ask again on it
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def length(self) -> int | None:
        """The length of the request's body, in bytes; None if it is not said."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None

    def log_message(self, *_: object) -> None:
        """Nobody reads a line for each request."""
