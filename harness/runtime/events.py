"""The run's event log: one JSON line for each state change, and listeners that print progress."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.runtime.redact import redact, redact_text

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """One state change: when (Unix seconds), what kind ("process.died"), about whom, in words."""

    at: float
    kind: str
    subject: str
    message: str
    level: Level
    data: dict[str, Any]


Listener = Callable[[Event], None]


class EventLog:
    """Appends events to `path` (JSON Lines) as they happen; thread-safe; a full disk is kept in `write_error`.

    What it writes and what its listeners get has no secret in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write_error: OSError | None = None
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._file = path.open("a", encoding="utf-8")

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def emit(self, kind: str, subject: str, message: str, *, level: Level = "info", **data: Any) -> None:
        event = Event(time.time(), kind, redact_text(subject), redact_text(message), level, redact(data))
        with self._lock:
            self._append(event)
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        with self._lock:
            try:
                self._file.close()
            except OSError as error:
                self.write_error = error

    def _append(self, event: Event) -> None:
        try:
            self._file.write(json.dumps(event.__dict__, default=_as_text) + "\n")
            self._file.flush()
        except (OSError, ValueError) as error:
            self.write_error = error if isinstance(error, OSError) else OSError(str(error))


def _as_text(value: object) -> str:
    return redact_text(str(value))
