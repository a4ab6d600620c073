"""What the gateway does now, asked on its data plane: which route is in effect, and whether it reaches a revision."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from harness.backends.kubernetes.routes import REVISION_HEADER, ROUTE_HEADER, VERSION_DOMAIN, VERSION_PATH
from harness.clients.http import client
from harness.components.gateway import SERVED_BY

TIMEOUT_S = 5.0
PROBE_MARK = "rehearsal-probe"
"""In the query of a request of ours, which is nobody's traffic."""
TIMES = 3
"""So many answers over connections of their own must agree: each worker of each Envoy takes its routes by itself."""


class GatewayProbe:
    """Asks one gateway about hosts; httpx.TransportError while it is not there."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        extra: dict[str, Any] = {"transport": transport} if transport else {}
        # A kept connection would ask the same worker again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = client(url, timeout_s=TIMEOUT_S, limits=limits, **extra)

    def close(self) -> None:
        self._http.close()

    def in_effect(self, host: str, route: str, version: str) -> bool:
        """Whether every answer is this version of the route."""
        return all(self.version(host, route) == version for _ in range(TIMES))

    def gone(self, host: str, route: str) -> bool:
        """Whether no answer knows the route any more."""
        return all(not self.version(host, route) for _ in range(TIMES))

    def version(self, host: str, route: str) -> str:
        """The version of a route; empty if the gateway does not have it."""
        answer = self._http.get(VERSION_PATH, headers={"host": host, ROUTE_HEADER: route})
        found = urlsplit(answer.headers.get("location", "")).hostname or ""
        version, _, domain = found.partition(".")
        return version if domain == VERSION_DOMAIN else ""

    def answered_by(self, host: str, service: str, route: str) -> str:
        """The revision that a route's weights lead to this time; empty if it did not answer."""
        answer = self._model(host, service, {ROUTE_HEADER: route})
        return str(answer.headers.get(SERVED_BY, "")) if answer.status_code == 200 else ""

    def reaches(self, host: str, service: str, revision: str) -> bool:
        """Whether the revision itself answers that its model is ready."""
        answer = self._model(host, service, {REVISION_HEADER: revision})
        return answer.status_code == 200 and answer.headers.get(SERVED_BY) == revision

    def _model(self, host: str, service: str, headers: dict[str, str]) -> httpx.Response:
        return self._http.get(f"/v1/models/{service}?{PROBE_MARK}", headers={"host": host, **headers})
