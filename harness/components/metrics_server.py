"""What a process of ours tells Prometheus: GET /metrics, on a port of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from harness.components._json_server import JsonHandler, JsonServer
from harness.components.component import LOOPBACK


class MetricsServer(JsonServer):
    """Tells the series of a registry from now on until `close`; any free port if none is named."""

    def __init__(self, series: CollectorRegistry, port: int = 0, host: str = LOOPBACK) -> None:
        super().__init__((host, port), _Handler)
        self.series = series
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """host:port of /metrics."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    server: MetricsServer

    def do_GET(self) -> None:
        if self.path.partition("?")[0] in ("/metrics", "/"):
            self.answer_with(200, generate_latest(self.server.series), CONTENT_TYPE_LATEST)
        else:
            self.answer(404, {"error": "expected GET /metrics"})
