"""The payload logger: each request and response as a CloudEvent, as KServe's agent sends them, off the request's path.

Events wait in a bounded queue for one sender thread. A slow or dead receiver never slows or fails a request: what does
not fit, or cannot be sent, is dropped and counted in rehearsal_payload_events_total{outcome} on /metrics.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client import Counter

from harness.clients.http import client
from harness.components.replica import PayloadLog

QUEUE_SIZE = 1000
SEND_TIMEOUT_S = 5.0
INFERENCE = (":predict", "/infer")
_EVENTS = Counter("rehearsal_payload_events", "Payload events by what became of them", ["outcome"])

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class PayloadEvent:
    """One CloudEvent in binary mode: `kind` is "request" or "response"; both of one call have the same id."""

    kind: str
    id: bytes
    body: bytes
    at: float


class PayloadLogger:
    """ASGI middleware that copies inference payloads to the sender."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: PayloadLog) -> None:
        self.app = app
        self.settings = settings
        self.queue: queue.Queue[PayloadEvent] = queue.Queue(QUEUE_SIZE)
        threading.Thread(target=self._send_all, name="payload-logger", daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(INFERENCE):
            await self.app(scope, receive, send)
            return
        request, response = bytearray(), bytearray()

        async def copied_receive() -> dict[str, Any]:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def copied_send(message: dict[str, Any]) -> None:
            response.extend(message.get("body", b""))
            await send(message)

        at = time.time()
        await self.app(scope, copied_receive, copied_send)
        self._put(_event_id(scope), at, bytes(request), bytes(response))

    def _put(self, event_id: bytes, at: float, request: bytes, response: bytes) -> None:
        for kind, body, moment in (("request", request, at), ("response", response, time.time())):
            if self.settings.mode not in ("all", kind):
                continue
            try:
                self.queue.put_nowait(PayloadEvent(kind, event_id, body, moment))
            except queue.Full:
                _EVENTS.labels("dropped").inc()

    def _send_all(self) -> None:
        with client(timeout_s=SEND_TIMEOUT_S) as http:
            while True:
                event = self.queue.get()
                try:
                    answer = http.post(self.settings.url, content=event.body, headers=headers(event, self.settings))
                    outcome = "sent" if answer.is_success else "failed"
                except (httpx.HTTPError, httpx.InvalidURL, ValueError):
                    outcome = "failed"
                _EVENTS.labels(outcome).inc()


def headers(event: PayloadEvent, settings: PayloadLog) -> dict[bytes, bytes]:
    """The CloudEvent's attributes, with the names and values of KServe's agent, and the revision."""
    attributes = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-type": f"org.kubeflow.serving.inference.{event.kind}",
        "ce-source": f"http://{settings.service}.{settings.namespace}/",
        "ce-time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.at)),
        "ce-inferenceservicename": settings.service,
        "ce-namespace": settings.namespace,
        "ce-component": settings.component,
        "ce-endpoint": settings.endpoint,
        "ce-revision": settings.revision,  # KServe's endpoint is a role, which a promotion changes
    }
    # A request's id is whatever bytes the client sent; httpx would refuse as text what is not ASCII.
    return {name.encode(): value.encode() for name, value in attributes.items()} | {b"ce-id": event.id}


def _event_id(scope: Scope) -> bytes:
    given: dict[bytes, bytes] = dict(scope["headers"])
    return given.get(b"ce-id") or given.get(b"x-request-id") or uuid.uuid4().hex.encode()
