"""What wakes the router: watched Pods, and revisions that are to be asked again soon; one thread passes them on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.backends.kubernetes.applied import SERVICE_LABEL
from harness.clients.kubernetes import Kube
from harness.errors import RehearsalError
from harness.runtime.clock import Deadline

SOON_S = 0.1
WATCH_S = 30.0
AWAY_S = 1.0

Key = tuple[str, str]


class Wakes:
    """Calls `again(namespace, service)` when labelled Pods change; a true answer asks for another call soon."""

    def __init__(self, kube: Kube, labels: str, again: Callable[[str, str], bool]) -> None:
        self._kube = kube
        self._labels = labels
        self._again = again
        self._due: set[Key] = set()
        self._later: set[Key] = set()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._followed: set[str] = set()
        self._worker: threading.Thread | None = None

    def follow(self, namespace: str) -> None:
        """Watch the Pods of a namespace from now on."""
        with self._changed:
            if namespace in self._followed or self._closed.is_set():
                return
            self._followed.add(namespace)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="router", daemon=True)
                self._worker.start()
        threading.Thread(target=self._watch, args=(namespace,), name=f"pods-{namespace}", daemon=True).start()

    def soon(self, namespace: str, name: str) -> None:
        """Call for a service in a moment."""
        with self._changed:
            self._later.add((namespace, name))
            self._changed.notify()

    def close(self) -> None:
        """Call no more; waits for the call that is under way."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(timeout=60)

    def _watch(self, namespace: str) -> None:
        while not self._closed.is_set():
            try:
                for event in self._kube.watch(
                    "v1/Pod", namespace, labels=self._labels, deadline=Deadline.after(WATCH_S)
                ):
                    if self._closed.is_set():
                        return
                    if name := event.object["metadata"].get("labels", {}).get(SERVICE_LABEL):
                        self._wake((namespace, name))
            except RehearsalError:  # the API server is away; what happened meanwhile is seen by the next list
                self._closed.wait(AWAY_S)

    def _wake(self, key: Key) -> None:
        with self._changed:
            self._due.add(key)
            self._changed.notify()

    def _work(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                if not self._due:
                    self._changed.wait(SOON_S if self._later else None)
                if not self._due:
                    self._due, self._later = self._later, set()
                due, self._due = self._due, set()
            for key in due:
                if not self._closed.is_set() and self._again(*key):
                    self.soon(*key)
