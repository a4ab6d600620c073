"""HTTP/1.1 for the one server whose requests wait for a disk: answers are given later, in the order of the requests."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

MOST_BODY = 16 * 1024 * 1024
MOST_WAITING = 1_000
"""Requests of one connection that may wait for their answers; then no more of it is read."""
MOST_HEAD = 64 * 1024
READ_S = 10.0
"""A request that has begun is whole within this; one that comes drop by drop would be held for ever."""


@dataclass
class Request:
    """A request that is to be answered once."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: Connection
    closes: bool
    response: bytes | None = field(default=None)

    def answer(self, status: int, told: dict[str, Any] | str | None = None) -> None:
        """Answer with JSON, or with text for Prometheus."""
        content = b"" if told is None else (told if isinstance(told, str) else json.dumps(told)).encode()
        kind = "text/plain; version=0.0.4" if isinstance(told, str) else "application/json"
        lines = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-length: {len(content)}\r\n"
        lines += f"content-type: {kind}\r\n" if content else ""
        lines += "connection: close\r\n\r\n" if self.closes else "\r\n"
        self.response = lines.encode() + content
        self.connection.flush()


class Connection(asyncio.Protocol):
    """One client's connection; `handle` gets its whole requests and answers each, at once or later."""

    def __init__(
        self, handle: Callable[[Request], None], refused: Callable[[], None], *, read_s: float = READ_S
    ) -> None:
        self._handle = handle
        self._read_s = read_s
        self._late: asyncio.TimerHandle | None = None
        self._refused = refused
        self._waiting: deque[Request] = deque()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._in_time()

    def data_received(self, data: bytes) -> None:
        self._to_be_in_time()  # empty lines before a request are none to the parser
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, _TooLarge) as error:
            told = getattr(error, "__context__", None)
            large = isinstance(error, _TooLarge) or isinstance(told, _TooLarge)
            self._refuse(413 if large else 400, str(told if isinstance(told, _TooLarge) else error))

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", dict[str, str](), list[bytes](), 0
        self._head = 0
        self._to_be_in_time()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")
        self._grow_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MOST_BODY:
            raise _TooLarge(f"body: expected at most {MOST_BODY} bytes")
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MOST_BODY:
            raise _TooLarge(f"body: expected at most {MOST_BODY} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_time()
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._url.decode("latin-1"),
            self._headers,
            b"".join(self._body),
            self,
            not self._parser.should_keep_alive(),
        )
        self._enqueue(request)
        self._handle(request)

    def _to_be_in_time(self) -> None:
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(self._read_s, self._too_late)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._refuse(408, f"the request was not whole within {self._read_s:g} s")

    def flush(self) -> None:
        """Send the answers that are there, as far as no earlier one is missing."""
        sent, closes = [], False
        while self._waiting and self._waiting[0].response is not None and not closes:
            request = self._waiting.popleft()
            sent.append(request.response or b"")
            closes = request.closes
        if self._transport is None:
            return
        if sent:
            self._transport.write(b"".join(sent))
        if closes:
            self._transport.close()
        elif self._paused and len(self._waiting) < MOST_WAITING // 2:
            self._paused = False
            self._transport.resume_reading()

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= MOST_WAITING and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()

    def _refuse(self, status: int, reason: str) -> None:
        """What is no HTTP, or too much of it, ends the connection after the answers that are due."""
        self._refused()
        request = Request("", "", {}, b"", self, closes=True)
        self._enqueue(request)
        request.answer(status, {"error": reason})

    def _grow_head(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD:
            raise _TooLarge(f"head: expected at most {MOST_HEAD} bytes")


class _TooLarge(Exception):
    pass


def path_and_query(url: str) -> tuple[str, str]:
    """Of a request's target."""
    split = urlsplit(url)
    return split.path, split.query
