"""The activator as a container: the gateway's container reaches it there, and we reach its control on the loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import httpx

from harness.backends.embedded.starter import Running
from harness.clients.activator import ActivatorClient
from harness.errors import RehearsalError
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

TOLD_S = 10.0
"""So long it may be away, being started again, when something is to be told to it."""
AWAY_S = 1.0


class ContainerActivator:
    """Is started when its address is first asked for; an Activator.

    `start` gives it running, and `find` where the gateway reaches it. When it was started again it has forgotten what
    it was told, and may have another address: `moved` is called. Requests that waited in it have failed by then.
    """

    def __init__(self, start: Callable[[], Running], find: Callable[[Running], tuple[str, int]]) -> None:
        self.wanted: Callable[[str], None] = lambda host: None
        self.moved: Callable[[], None] = lambda: None
        self._start, self._find = start, find
        self._running: Running | None = None
        self._client: ActivatorClient | None = None
        self._address = "", 0
        self._lock = threading.Lock()
        self._back = threading.Event()
        self._end = False
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        with self._lock:
            if self._running is None:
                running = self._start()
                running.listeners.append(self._changed)
                self._address = self._find(running)
                self._client = ActivatorClient(running.url())
                self._thread = threading.Thread(target=self._listen, args=(self._client,), name="wanted", daemon=True)
                self._thread.start()
                self._running = running
            return self._address

    def hold(self, host: str, *, within_s: float) -> None:
        self._tell("hold", host=host, within_s=within_s)

    def let_go(self, host: str) -> None:
        self._tell("let-go", host=host)

    def refuse(self, host: str, why: str) -> None:
        self._tell("refuse", host=host, why=why)

    def held(self) -> dict[str, int]:
        """Host -> requests that wait now; nothing waits in one that is away."""
        try:
            return self._client.held() if self._client is not None else {}
        except httpx.TransportError:
            return {}

    def close(self) -> None:
        ended, self._end = self._end, True
        if ended or self._client is None or self._thread is None:
            return
        with contextlib.suppress(httpx.TransportError, RehearsalError):  # it has ended before
            self._client.tell("close")
        self._back.set()
        self._thread.join()
        self._client.close()

    def _tell(self, act: str, **told: object) -> None:
        running, client = self._running, self._client
        if running is None or client is None:
            return

        def done() -> bool:
            client.tell(act, **told)
            return True

        wait(done, what=f"activator: {act}", deadline=Deadline.after(TOLD_S), fail=lambda: running.failed)

    def _changed(self, down: str) -> None:
        if down or self._running is None:
            return
        with self._lock:
            self._address = self._find(self._running)
        self._back.set()
        self.moved()

    def _listen(self, client: ActivatorClient) -> None:
        """Tell who wants a replica, as soon as somebody does."""
        known = 0
        while not self._end:
            try:
                begun, held = client.news(known)
            except (httpx.TransportError, RehearsalError):  # it is away, and will count from 0
                known = 0
                self._back.wait(AWAY_S)
                self._back.clear()
                continue
            if begun != known:
                known = begun
                for host in held:
                    self.wanted(host)
