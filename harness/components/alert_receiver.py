"""The webhook that Alertmanager notifies: takes what carries the run's secret, refuses and counts everything else.

POST /alerts   Alertmanager's webhook, version 4, with "Authorization: Bearer <secret>"
               204 taken; 400 malformed; 401 without the secret or with another; 413 too long
GET  /health   {"taken", "malformed", "refused"}
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from harness.components._json_server import JsonHandler, JsonServer
from harness.components.component import LOOPBACK

MOST_BYTES = 1 << 20
PATH = "/alerts"

Take = Callable[[Sequence[dict[str, Any]]], None]


class AlertReceiver(JsonServer):
    """Listens on a port of the loopback from `start` until `stop`; `take` gets the alerts of each notification.

    A KeyError, TypeError or ValueError of `take` says that they are none.
    """

    def __init__(self, secret: str, take: Take) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self._secret, self.take = f"Bearer {secret}".encode(), take
        self._lock = threading.Lock()
        self.counts = {"taken": 0, "malformed": 0, "refused": 0}

    @property
    def url(self) -> str:
        """Where notifications are sent to."""
        return f"http://{LOOPBACK}:{self.server_address[1]}{PATH}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, name="alert-receiver", args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def knows(self, authorization: str) -> bool:
        """Whether a request carries the secret; how long this takes does not tell how much of it was right."""
        return hmac.compare_digest(authorization.encode("utf-8", "surrogateescape"), self._secret)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    server: AlertReceiver

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, dict(self.server.counts))
        else:
            self.answer(404, {"error": f"there is no {PATH[:1]}… of this name; POST {PATH}"})

    def do_POST(self) -> None:
        status, why = self._taken()
        if status >= 400:
            self.close_connection = True  # what is left of the body is not read
            self.server.count("refused" if status in (401, 413) else "malformed")
        else:
            self.server.count("taken")
        self.answer(status, {"error": why} if why else None)

    def _taken(self) -> tuple[int, str]:
        if self.path != PATH:
            return 404, f"POST {PATH}"
        if not self.server.knows(self.headers.get("authorization", "")):
            return 401, "the run's secret is missing, or is another one"
        length = self.length()
        if length is None:
            return 411, "content-length is missing"
        if length > MOST_BYTES:
            return 413, f"at most {MOST_BYTES} bytes"
        try:
            told = json.loads(self.rfile.read(length))
            self.server.take(list(told["alerts"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return 400, f"not a notification of Alertmanager: {type(error).__name__}: {error}"
        return 204, ""
