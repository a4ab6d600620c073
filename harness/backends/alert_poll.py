"""How alerts come to a run whose Alertmanager cannot reach it: it is asked for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from harness.backends.alerts import Inbox
from harness.clients.http import client, request
from harness.errors import RehearsalError

EVERY_S = 0.5


class AlertPoll:
    """Asks Alertmanager at `url` for its alerts until `close`; those of which `mine` is true come into the inbox."""

    def __init__(self, url: str, inbox: Inbox, mine: Callable[[Mapping[str, str]], bool] = lambda labels: True) -> None:
        self._inbox, self._mine = inbox, mine
        self._http = client(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alert-poll", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            with contextlib.suppress(RehearsalError):  # it may be away for a while
                self._inbox.hold([each for each in self._active() if self._mine(each["labels"])])

    def _active(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = request(self._http, "GET", "/api/v2/alerts", params={"active": "true"}).json()
        return found
