"""The PostgreSQL that several sessions use, one after the other or at once: taken or made, and left or removed."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

from testcontainers.core.network import Network

from harness.backends.containers import stores, sweep
from harness.backends.containers.database import MAINTENANCE, NAME, TEMPLATE, Database
from harness.backends.containers.ground import Ground
from harness.backends.containers.launcher import Containers
from harness.backends.containers.stores import WORDS, Keeping, StoreState
from harness.backends.kubernetes.clusters import Way, way
from harness.backends.kubernetes.docker import image_id
from harness.components import mlflow, postgres
from harness.components.component import Component
from harness.containers.labels import KEEPER, RUN, STATE, STORE
from harness.containers.ready import Held, Started, wait_ready
from harness.containers.recipe import ComponentContainer
from harness.containers.refusals import in_a_line, in_words, require_image
from harness.errors import PlatformError, RehearsalError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.interrupts import held
from harness.runtime.owner import Owner

HEALTHY_S = 10.0
STOP_S = 20.0
_DATABASES = "select datname from pg_database"


class StoreGround(Ground):
    """A session's ground beside a kept server: what the session makes goes with it, the network is the server's."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = store
        self.labels[STORE] = store

    @cached_property
    def _network(self) -> Network:
        with in_words("network"):
            network = Network()
            network.name = self.store
            network._network = self.docker.client.networks.get(self.store)
            return network


class StoreContainer(ComponentContainer):
    """The server's container: no session's, and so without the labels by which a session's containers are removed."""

    def __init__(self, component: Component, name: str, labels: dict[str, str]) -> None:
        super().__init__(component, name=name, labels=labels)

    def start(self) -> Self:
        """Start it and return at once. testcontainers' own `start` would label it as a session's."""
        recipe = self._started = self.recipe()
        network = self._network.name if self._network else ""
        docker = self.get_docker_client()
        with closing(docker.client) as client, in_words(recipe.name):
            require_image(docker, self.image)
            self._configure()
            known_as = client.api.create_endpoint_config(aliases=[recipe.name])
            container = client.containers.create(
                self.image,
                command=self._command,
                environment=self.env,
                name=self._name,
                tmpfs=self.tmpfs,
                volumes=self.volumes,
                network=network,
                networking_config={network: known_as},
                **self._kwargs,
            )
            container.start()
        return self


def check(keeping: Keeping) -> None:
    """ConfigError, before anything is started, if another process uses the kept server, and it runs another image."""
    state = stores.read(stores.name()) if keeping else None
    if state is not None:
        _way(state, keeping)


class KeptDatabase(Database):
    """Databases on the server that was kept, or that is kept from now on."""

    def __init__(self, containers: Containers, events: EventLog, folder: Path, keeping: Keeping) -> None:
        super().__init__(containers, events, folder)
        self._keeping = keeping
        self._name = stores.name()
        self._server: Held | None = None
        self._made: set[str] = set()

    def create(self, name: str) -> str:
        self._made.add(name)
        return super().create(name)

    def drop(self, name: str) -> None:
        super().drop(name)
        self._made.discard(name)

    def close(self) -> None:
        """Drop what databases of this session are left, and leave the server, which stays."""
        with self._lock:
            self._started = True  # nothing is taken any more
            if self._server is None:
                return
            with held(), stores.locked(self._name, Deadline.after(STOP_S)):
                self._leave()

    def _have(self, deadline: Deadline) -> None:
        with stores.locked(self._name, deadline, fail=self._ended):
            state = stores.read(self._name)
            chosen, why = _way(state, self._keeping)
            if state is not None and chosen is not Way.MAKE:
                if self._taken(state):
                    return
                if chosen is Way.JOIN:
                    raise PlatformError(
                        f"The {WORDS.what} {state.name} does not answer, and process {state.living()[0].pid} uses it.",
                        hint=f"wait for its end; or without --keep and --reuse, for a {WORDS.what} of your own",
                    )
                why = "it does not answer"
            if why:
                self._tell(f"removing the one that is there: {why}")
            elif state is None:
                for words in stores.strangers():
                    self._tell(f"the one that {words} keeps is another user's or place's: this one is made anew")
            self._new(deadline)

    def _taken(self, state: StoreState) -> bool:
        """Take a server that answers, and drop the databases of dead runs; False for one that does not."""
        try:
            self._server = self._server_of(state.name, Deadline.after(HEALTHY_S))
            taken = state.used_by(_me(), kept=True)
            self._drop_left_over(taken.living())
        except RehearsalError:
            self._server = None
            if self._ended():
                raise
            return False
        stores.write(taken)
        self._password = state.password
        self._tell("took the one that was kept")
        return True

    def _server_of(self, name: str, deadline: Deadline) -> Held:
        """The server of this name, which answers; PlatformError or WaitTimeout if it does not."""
        with in_a_line(NAME):
            server = Started(NAME, self._containers.ground.docker.client.containers.get(f"{name}-{NAME}"))
        wait_ready(self._recipe(), server, lambda port: None, deadline, fail=self._ended)
        return server

    def _drop_left_over(self, living: tuple[Identity, ...]) -> None:
        # Not asked in the template itself: nobody may be connected to that while another session copies it.
        said = self._run("psql", "--tuples-only", "--no-align", f"--command={_DATABASES}", MAINTENANCE).split()
        if TEMPLATE not in said:
            raise PlatformError("postgres: the migrated database is gone")
        for each in stores.left_over(said, living):
            self.drop(each)
            self._tell(f"dropped {each}, which a run that died has left")

    def _new(self, deadline: Deadline) -> None:
        sweep.remove(f"{STORE}={self._name}")
        state = StoreState(
            self._name,
            kept=True,
            users=(_me(),),
            image=_image(),
            password=self._password,
            maker=str(Owner.me()),
        )
        stores.write(state)
        try:
            self._server = self._started_anew(deadline)
            self._migrate(deadline)
        except BaseException:
            self._server = None
            with held():
                sweep.remove(f"{STORE}={self._name}")
                stores.forget(self._name)
            raise
        stores.write(replace(state, ready=True))
        self._tell("made one, which is kept")

    def _started_anew(self, deadline: Deadline) -> Held:
        labels = {
            STORE: self._name,
            RUN: self._name,
            KEEPER: str(Owner.me()),
            STATE: str(stores.state_file(self._name)),
        }
        ground = Ground(self._name, labels)
        recipe = replace(self._recipe(), ports=(), inside={})
        container = StoreContainer(recipe, f"{self._name}-{NAME}", labels).with_folder(self._folder / NAME)
        container.with_network(ground.network)
        for mount in self._mounts(ground.volume(NAME)):
            container.with_volume_mapping(mount.source, mount.path, "rw" if mount.writable else "ro")
        container.start()
        return self._server_of(self._name, deadline)

    def _ended(self) -> str:
        return "the session has ended" if self._containers.ground.closed else ""

    def _leave(self) -> None:
        with suppress(PlatformError):  # or who takes it next drops them
            for name in sorted(self._made):
                self.drop(name)
        if state := stores.read(self._name):
            stores.write(state.left_by(_me()))

    def _held(self) -> Held:
        if self._server is None:
            raise PlatformError("postgres: not started")
        return self._server

    def _tell(self, message: str) -> None:
        self._events.emit("world.component", NAME, message)


def _way(state: StoreState | None, keeping: Keeping) -> tuple[Way, str]:
    return way(state, _image(), reuse=keeping.reuse, words=WORDS)


def _image() -> str:
    return stores.made_of(image_id(postgres.IMAGE), image_id(mlflow.IMAGE))


def _me() -> Identity:
    return Identity.of(os.getpid())
