"""The PostgreSQL of a session: a database for each run, copied from one that MLflow has migrated."""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

from harness.backends.containers.child import ContainerChild
from harness.backends.containers.launcher import Containers, Mounted
from harness.backends.embedded.starter import Running, Starter
from harness.components import mlflow, postgres
from harness.components.component import Component
from harness.containers.ready import Held
from harness.errors import PlatformError, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.paths import cache_home

NAME = "postgres"
"""What MLflow knows the server as."""
TEMPLATE = "template_mlflow"
MAINTENANCE = "postgres"
"""Where one is connected to make or drop others."""
_DUMP = "template.sql"
_INSIDE = "/template"


class Database:
    """Starts with `start`; its data lie in a volume, so that a restart loses none."""

    def __init__(self, containers: Containers, events: EventLog, folder: Path) -> None:
        self._containers = containers
        self._events = events
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._cache = cache_home() / f"mlflow-{mlflow.version()}-postgres"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._running: Running | None = None
        self._started = False
        self._lock = threading.Lock()

    @property
    def running(self) -> Running:
        """The server; PlatformError before `start`."""
        if self._running is None:
            raise PlatformError("postgres: not started")
        return self._running

    def start(self, deadline: Deadline) -> None:
        """Have the server, with the migrated database in it; again does nothing."""
        with self._lock:
            if not self._started:
                self._have(deadline)
                self._started = True

    def close(self) -> None:
        """Nothing: the server goes with the session's containers."""

    def create(self, name: str) -> str:
        """A new database, as MLflow finds an empty store; its URL of SQLAlchemy, inside of the network."""
        self._sql(f'create database "{name}" template {TEMPLATE}')
        return self._url(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._sql(f'drop database if exists "{name}" with (force)')

    def _have(self, deadline: Deadline) -> None:
        volume = self._containers.ground.volume("postgres")
        launcher = replace(self._containers, mounts={NAME: self._mounts(volume)})
        starter = Starter(self._containers.supervisor, self._events, self._folder, launcher)
        self._running = self._running or starter.start(self._recipe(), deadline)
        self._migrate(deadline)

    def _recipe(self) -> Component:
        return replace(postgres.postgres(self._password, database=TEMPLATE), scratch=(postgres.SOCKETS,))

    def _mounts(self, volume: str) -> tuple[Mounted, ...]:
        return (Mounted(volume, postgres.DATA, writable=True), Mounted(str(self._cache), _INSIDE))

    def _held(self) -> Held:
        return cast(ContainerChild, self.running.child)

    def _migrate(self, deadline: Deadline) -> None:
        """From the dump in the cache; without one MLflow itself migrates, which takes seconds, and it is kept."""
        dump = self._cache / _DUMP
        if dump.exists():
            self._run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={_INSIDE}/{_DUMP}", TEMPLATE)
            return
        recipe = mlflow.migration(self._url(TEMPLATE))
        child = self._containers.start(recipe, self._folder / recipe.name, {})
        code = child.wait(deadline.remaining_s())
        self._containers.supervisor.stop(child)
        if code is None:
            raise WaitTimeout(f"MLflow's migration of its database: not within the deadline.\n{child.tail()}")
        if code:
            raise PlatformError(f"MLflow's migration of its database failed: exit code {code}.\n{child.tail()}")
        beside = dump.with_suffix(f".{os.getpid()}.new")
        beside.write_text(self._run("pg_dump", "--no-owner", TEMPLATE), encoding="utf-8")
        beside.replace(dump)

    def _sql(self, statement: str) -> None:
        self._run("psql", "--quiet", f"--command={statement}", MAINTENANCE)

    def _run(self, program: str, *arguments: str) -> str:
        """What a client program of the server's own container prints; PlatformError with its last line."""
        code, said = self._held().execute(
            [program, f"--host={postgres.SOCKETS}", f"--username={postgres.USER}", *arguments]
        )
        if code:
            raise PlatformError(f"PostgreSQL: {program}: {(said.strip().splitlines() or ['no word on why'])[-1]}")
        return said

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg2://{postgres.USER}:{self._password}@{NAME}/{name}"
