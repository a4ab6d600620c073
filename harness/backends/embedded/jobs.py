"""The controller's background work: threads and timers that end with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from harness.errors import RehearsalError
from harness.runtime.events import EventLog

Job = Callable[[], None]


class Jobs:
    """Runs jobs until `close`; what fails in one is told as an event."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._timers: set[threading.Timer] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()

    @property
    def closed(self) -> bool:
        return self._end.is_set()

    def go_on_after(self, seconds: float) -> bool:
        """Wait so long, less if `close` is called; whether to go on."""
        return not self._end.wait(seconds)

    def submit(self, job: Job) -> None:
        """Run a job now, in a thread of its own."""
        # Daemon threads: a replica that is still being waited for must not hold up the end of the program.
        if not self.closed:
            threading.Thread(target=self._guarded, args=(job,), name="controller", daemon=True).start()

    def at(self, when: float, job: Job) -> None:
        """Run a job at a time of the monotonic clock."""
        timer = threading.Timer(max(0.0, when - time.monotonic()), lambda: self.submit(job))
        timer.daemon = True
        with self._lock:
            self._timers = {other for other in self._timers if other.is_alive()} | {timer}
            timer.start()

    def close(self) -> None:
        """Start nothing any more; what runs may end."""
        self._end.set()
        with self._lock:
            for timer in self._timers:
                timer.cancel()

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except RehearsalError as error:
            if not self.closed:
                self._events.emit("controller.error", "controller", error.message, level="error")
        except RuntimeError:  # httpx, of a client that the controller's end has closed under the job
            if not self.closed:
                raise
