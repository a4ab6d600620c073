"""What several platforms of one test session share: warm processes, never data."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from harness.backends.embedded.backend import EmbeddedBackend
from harness.backends.embedded.warmth import Warmth
from harness.backends.node import NodeOptions
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor


class Session:
    """Owns the nurseries of a session in `folder`; every platform gets its own MLflow, gateway, folder and events."""

    def __init__(self, folder: Path, *, node: NodeOptions | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._node = node
        self._events = EventLog(folder / "events.jsonl")
        self._supervisor = Supervisor(folder, self._events)
        self._warmth = Warmth(self._supervisor)

    def __enter__(self) -> Self:
        self._supervisor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.close()
        self._events.close()

    def backend(self, folder: Path, events: EventLog) -> EmbeddedBackend:
        """A backend with clean state that forks from this session's warm processes."""
        return EmbeddedBackend(folder, events, warmth=self._warmth, node=self._node)
