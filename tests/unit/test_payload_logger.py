"""The payload logger's sender: no request's content ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.components.payload_logger import PayloadLogger
from harness.components.replica import PayloadLog
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


class Receiver(ThreadingHTTPServer):
    """Keeps the ids of the CloudEvents that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.ids: list[str] = []


class _Keep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers["content-length"]))
        server.ids.append(self.headers["ce-id"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"{}"})


async def _ask(logger: PayloadLogger, request_id: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        """Nobody listens."""

    scope = {"type": "http", "path": "/v1/models/m:predict", "headers": [(b"x-request-id", request_id)]}
    await logger(scope, receive, send)


def test_an_odd_request_id_is_logged_as_it_is_and_the_next_request_too(receiver: Receiver) -> None:
    """A Latin-1 byte in the id, which httpx refuses as text; then one that no header may hold; then a plain one."""
    settings = PayloadLog(f"http://127.0.0.1:{receiver.server_port}/", "request", "m", "production", "predictor")
    logger = PayloadLogger(_answer, settings)
    for request_id in (b"caf\xe9", b"two\r\nlines", b"plain"):
        asyncio.run(_ask(logger, request_id))
    wait(lambda: "plain" in receiver.ids, what="the last event", deadline=Deadline.after(10))
    assert receiver.ids == ["caf\xe9", "plain"]
