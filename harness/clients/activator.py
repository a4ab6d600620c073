"""The control of an activator that is a process of its own (harness.components.activator_control)."""

from __future__ import annotations

from typing import Any

import httpx

from harness.clients.http import client, expect
from harness.components.activator_control import NEWS_S


class ActivatorClient:
    """Asks one activator; httpx.TransportError while it is not there, RequestFailed if it refuses.

    Every call has a connection of its own: one that was kept may end under a request, which then is or is not done.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._http = client(url, timeout_s=timeout_s, limits=httpx.Limits(max_keepalive_connections=0))
        self._timeout_s = timeout_s

    def tell(self, act: str, **told: Any) -> None:
        """Have it hold, let-go, refuse or close; safe to tell again."""
        expect(self._http.post(f"/{act}", json=told))

    def held(self) -> dict[str, int]:
        """Host -> requests that wait now."""
        found: dict[str, int] = expect(self._http.get("/held")).json()["held"]
        return found

    def news(self, begun: int) -> tuple[int, dict[str, int]]:
        """How many requests ever began to wait, and those that do; waits while that number is `begun`, some seconds."""
        timeout_s = NEWS_S + self._timeout_s
        told = expect(self._http.get("/held", params={"but": begun}, timeout=timeout_s)).json()
        return int(told["begun"]), told["held"]

    def close(self) -> None:
        self._http.close()
