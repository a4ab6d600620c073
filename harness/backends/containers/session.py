"""What several platforms of one test session share in the containers world: warm processes for jobs, never data."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.backends.containers.backend import SWEEP, ContainersBackend
from harness.backends.containers.engine import require
from harness.backends.containers.kept import check
from harness.backends.containers.registry import Registry
from harness.backends.containers.stores import FOR_ITSELF, Keeping
from harness.backends.embedded.warmth import Warmth
from harness.backends.node import NodeOptions
from harness.containers.labels import OWNER, owned
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor


class ContainerSession:
    """Each platform gets a network, containers, a folder and events of its own.

    `keeping`: whether the database server is one that was kept, or stays. Errors when made: CapabilityMissing for
    Docker and images, each with how to get it; ConfigError if another process uses the kept server, and it runs another
    image.
    """

    def __init__(self, folder: Path, *, node: NodeOptions | None = None, keeping: Keeping = FOR_ITSELF) -> None:
        require()
        check(keeping)
        self._node = node
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._events = EventLog(folder / "events.jsonl")
        owner = owned()[OWNER]
        self._supervisor = Supervisor(folder, self._events, sweep=(SWEEP, owner))
        self._warmth = Warmth(self._supervisor)
        self.registry = Registry(folder, self._supervisor, self._events, spare=True, keeping=keeping)

    def __enter__(self) -> Self:
        self._supervisor.__enter__()
        self.registry.prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as ending:  # each goes on after an error of the one before
            ending.callback(self._events.close)
            ending.callback(self.registry.close)
            self.registry.stop()
            self._supervisor.close()

    def backend(self, folder: Path, events: EventLog) -> ContainersBackend:
        """A backend with clean state, whose jobs fork from this session's warm processes."""
        return ContainersBackend(folder, events, warmth=self._warmth, registry=self.registry, node=self._node)
