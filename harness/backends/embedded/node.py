"""The scheduler of a world without a cluster: replicas get what they request of one node, or wait, and are told why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Node:
    """Counts what its replicas have requested; thread-safe. `changed` is called when there may be more room."""

    def __init__(self, capacity: Mapping[str, float]) -> None:
        self._capacity = dict(capacity)
        self._placed: dict[int, Mapping[str, float]] = {}
        self._lock = threading.Lock()
        self.changed: Callable[[], None] = lambda: None

    def place(self, number: int, requests: Mapping[str, float]) -> str:
        """Give a replica what it requests: "", or the scheduler's words of why it has to wait."""
        with self._lock:
            short = sorted(name for name, amount in requests.items() if amount > self._free(name) + 1e-9)
            if short:
                return f"0/1 nodes are available: {', '.join(f'1 Insufficient {name}' for name in short)}."
            self._placed[number] = dict(requests)
            return ""

    def release(self, number: int) -> None:
        """Take back what a replica had; nothing happens if it had nothing."""
        with self._lock:
            had = self._placed.pop(number, None)
        if had:
            self.changed()

    @contextmanager
    def advertised(self, resource: str, count: int) -> Iterator[None]:
        """While the block lasts there are `count` of a resource; who has one at its end keeps it, as on a real node."""
        with self._lock:
            before = self._capacity.get(resource, 0.0)
            self._capacity[resource] = float(count)
        self.changed()
        try:
            yield
        finally:
            with self._lock:
                self._capacity[resource] = before
            self.changed()

    def _free(self, name: str) -> float:
        used = sum(requests.get(name, 0.0) for requests in self._placed.values())
        return self._capacity.get(name, 0.0) - used
