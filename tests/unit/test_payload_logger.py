"""The payload logger's sender: no request's content ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from harness.components.payload_logger import PayloadLogger
from harness.components.replica import PayloadLog
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.cloud_events import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


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
