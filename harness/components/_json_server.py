"""What our small HTTP servers have in common: answers are JSON, connections are kept, nothing is logged.

Whoever asks has to be done with it in time: a request that comes drop by drop would hold a thread for ever.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IDLE_S = 60.0
READ_S = 10.0


class JsonServer(ThreadingHTTPServer):
    """One thread a connection; its end waits for none of them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked may be gone or never done, which is not news; any other error is a defect of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Timely(io.RawIOBase):
    """A connection's bytes, until `deadline` (monotonic); TimeoutError after it."""

    deadline = 0.0

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._usual_s = connection.gettimeout()  # what its answers are written within

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if (left := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError("the request was not whole in time")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._usual_s)


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with a status and JSON; a connection waits `timeout` for a request, which is whole `read_s` later."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    read_s = READ_S
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._timely = _Timely(self.connection)
        self.rfile = self._buffered = io.BufferedReader(self._timely)

    def handle_one_request(self) -> None:
        """BaseHTTPRequestHandler's, within a deadline."""
        self._timely.deadline = time.monotonic() + self.timeout
        try:
            self._buffered.peek(1)
        except TimeoutError:
            self.close_connection = True
            return
        self._timely.deadline = time.monotonic() + self.read_s
        super().handle_one_request()

    def answer(self, status: int, body: dict[str, Any] | None = None) -> None:
        """Send a whole answer; without a body it is empty."""
        self.answer_with(status, b"" if body is None else json.dumps(body).encode(), "application/json")

    def answer_with(self, status: int, content: bytes, kind: str) -> None:
        """Send a whole answer of this content type."""
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        if self.close_connection:  # else who asked would ask again on it
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def parse_request(self) -> bool:
        """BaseHTTPRequestHandler's, without HTTP/0.9: its answers have no status."""
        parsed = super().parse_request()
        if parsed and self.request_version == "HTTP/0.9":
            self.send_error(400, "expected HTTP/1.1")
            return False
        return parsed

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What BaseHTTPRequestHandler finds wrong with a request is its sender's fault, an unknown method too."""
        self.close_connection = True
        self.request_version = self.protocol_version
        known = {501: 405, 505: 400}
        self.answer(known.get(code, code), {"error": message or "not a request"})

    def length(self) -> int | None:
        """The length of the request's body, in bytes; None if it is not said."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None

    def log_message(self, *_: object) -> None:
        """Nobody reads a line for each request."""
