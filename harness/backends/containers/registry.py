"""MLflow servers for the runs of a session, each over a database and artifacts of its own; one is kept warm."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from docker.errors import DockerException

from harness.backends.containers import stores
from harness.backends.containers.database import Database
from harness.backends.containers.ground import Ground
from harness.backends.containers.kept import KeptDatabase, StoreGround
from harness.backends.containers.launcher import AtOnce, Containers
from harness.backends.containers.stores import FOR_ITSELF, Keeping
from harness.components import mlflow
from harness.components.component import Component
from harness.containers.ready import Started, wait_ready
from harness.containers.recipe import ComponentContainer
from harness.errors import PlatformError, PortTaken
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.ports import reserve
from harness.runtime.supervisor import Supervisor

START_S = 120.0
PORT_TRIES = 5
_ENDED = "mlflow: the session has ended"


@dataclass(frozen=True)
class Server:
    """An MLflow server that answers at `ports` of this machine; no run has written to it."""

    component: Component
    container: ComponentContainer
    folder: Path
    ports: Mapping[str, int]
    database: str
    ready_s: float


class Registry:
    """Gives each run a server. With `spare` the next one is started while the run before it goes on.

    `keeping`: whether the database server below them was there before, or stays.
    """

    def __init__(
        self,
        folder: Path,
        supervisor: Supervisor,
        events: EventLog,
        *,
        spare: bool,
        keeping: Keeping = FOR_ITSELF,
    ) -> None:
        self.ground = StoreGround(stores.name()) if keeping else Ground()
        self._folder = folder / "registry"
        containers = Containers(supervisor, self.ground)
        self.database = (
            KeptDatabase(containers, events, self._folder, keeping)
            if keeping
            else Database(containers, events, self._folder)
        )
        self._spare = spare
        self._next: Future[Server] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._lock = threading.Lock()
        self._closed = False

    def prepare(self) -> None:
        """Begin to start the next server, if it is not on its way."""
        with self._lock:
            self._begin()

    def claim(self, deadline: Deadline) -> Server:
        """A server that no other run has or had; the caller owns its container, and gives the rest back.

        PlatformError if it is not ready within the deadline, and when the session has ended.
        """
        with self._lock:
            self._begin()
            claimed, self._next = self._next, None
        if claimed is None:
            raise PlatformError(_ENDED)
        try:
            server = claimed.result(timeout=deadline.remaining_s())
        except TimeoutError as error:
            raise PlatformError("mlflow ready: not within the deadline") from error
        except CancelledError as error:
            raise PlatformError(_ENDED) from error
        if self._spare:
            self.prepare()
        return server

    def give_back(self, server: Server) -> None:
        """Remove the database and the artifacts of a server whose container has ended."""
        with contextlib.suppress(PlatformError, DockerException):  # it goes with the session at the latest
            if not self._closed:
                self.database.drop(server.database)
        shutil.rmtree(server.folder, ignore_errors=True)

    def stop(self) -> None:
        """Start nothing any more."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Remove what is left: the servers that nobody claimed, the network and the volumes; what is kept is left."""
        with ExitStack() as ending:  # each goes on after an error of the one before
            ending.callback(self.database.close)
            ending.callback(self.ground.close)
            self.stop()

    def _begin(self) -> None:
        if self._next is None and not self._closed:
            self._next = self._pool.submit(self._start)

    def _start(self) -> Server:
        began, deadline = time.monotonic(), Deadline.after(START_S)
        self.database.start(deadline)
        name = stores.database_of(Identity.of(os.getpid()), secrets.token_hex(4))
        component = mlflow.migrated(self.database.create(name))
        folder = self._folder / name
        for left in reversed(range(PORT_TRIES)):
            ports = {"http": reserve()}
            try:
                container = self._started(component, folder, ports["http"])
                break
            except PortTaken:
                if not left:
                    raise
        held = Started(component.name, container.get_wrapped_container())
        fail = lambda: "the session has ended" if self._closed else ""  # noqa: E731
        wait_ready(component, held, ports.get, deadline, fail=fail)
        return Server(component, container, folder, ports, name, time.monotonic() - began)

    def _started(self, component: Component, folder: Path, port: int) -> ComponentContainer:
        with self.ground.launching(component.name):
            container = ComponentContainer(component).with_folder(folder).with_network(self.ground.network)
            container.with_labels(self.ground.labels).waiting_for(AtOnce())
            container.with_network_aliases(folder.name).with_bind_ports(component.inside["http"], port)
            return container.start()
