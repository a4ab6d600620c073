"""The watcher: one thread that learns of each child's end from the kernel, without polling."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from harness.runtime.process import Child


class Watcher:
    """Calls `died(child, code)` for each watched child that ends without having been asked to."""

    def __init__(self, died: Callable[[Child, int], None]) -> None:
        self._died = died
        self._children: dict[int, Child] = {}
        self._ended_before: list[Child] = []
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._stopped = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, child: Child) -> None:
        """Tell of the child's end, at once if it has ended already."""
        with self._lock:
            if child.fileno() >= 0:
                self._children[child.fileno()] = child
            else:
                self._ended_before.append(child)
        self._wake()

    def forget(self, child: Child) -> None:
        with self._lock:
            self._children.pop(child.fileno(), None)
        self._wake()

    def stop(self) -> None:
        """End the thread; callbacks that run are waited for."""
        if self._stopped:
            return
        self._stopped = True
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.write(self._wake_write, b".")

    def _run(self) -> None:
        while not self._stopped:
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            with self._lock:
                for fd in self._children:
                    poller.register(fd, select.POLLIN)
                ended, self._ended_before = self._ended_before, []
            for child in ended:
                self._tell(child)
            for fd, _ in poller.poll():
                if fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                else:
                    self._ended(fd)

    def _ended(self, fd: int) -> None:
        with self._lock:
            child = self._children.pop(fd, None)
        if child is not None:
            self._tell(child)

    def _tell(self, child: Child) -> None:
        if (code := child.poll()) is not None and not child.stopping and not self._stopped:
            self._died(child, code)
