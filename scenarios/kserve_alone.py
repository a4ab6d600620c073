"""Clients of a service that is left to KServe: a steady rate of requests, and what became of each."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from harness.clients.http import client

CLIENTS = 8


@dataclass(frozen=True)
class Sent:
    """One request: when it was due (seconds since the first), its status (0: no answer), and its first prediction."""

    at_s: float
    status: int
    prediction: float | None = None

    @property
    def failed(self) -> bool:
        return self.status != 200


@dataclass
class Clients:
    """Sends `rps` requests a second while the block lasts; `sent` has all of them after it."""

    url: str
    host: str
    path: str
    rows: Sequence[Any]
    rps: float
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for _ in range(CLIENTS):
            thread = threading.Thread(target=self._send_all, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self.sent.sort(key=lambda each: each.at_s)

    def outage_s(self) -> float:
        """From the first failed request to the last one."""
        failed = [each.at_s for each in self.sent if each.failed]
        return failed[-1] - failed[0] if failed else 0.0

    def lost(self) -> int:
        return sum(each.failed for each in self.sent)

    def _send_all(self) -> None:
        with client(self.url, timeout_s=10.0, headers={"host": self.host}) as http:
            for number in self._numbers:
                due = number / self.rps
                if self._ended.wait(max(0.0, self._began + due - time.monotonic())):
                    return
                self.sent.append(self._send(http, due))

    def _send(self, http: httpx.Client, due: float) -> Sent:
        try:
            answer = http.post(self.path, json={"instances": [self.rows[0]]})
        except httpx.TransportError:
            return Sent(due, 0)
        if answer.status_code != 200:
            return Sent(due, answer.status_code)
        return Sent(due, 200, float(answer.json()["predictions"][0]))
