"""A component's recipe as a container, by the conventions of testcontainers."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from docker.errors import NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from harness.components.component import EVERY_INTERFACE, LOOPBACK, Component, fill
from harness.components.files import write_files
from harness.containers.labels import owned
from harness.containers.ready import RecipeReady
from harness.containers.refusals import in_words, reaper, require_image

NOBODY = 65532
"""Whom a container runs as where we are root; else it runs as we do. In both cases its folder is its own."""
_MIB = 1024**2


class RecipeContainer(DockerContainer, ABC):
    """A container whose image, arguments, files, ports, limits and readiness come from a recipe (`recipe()`).

    Ports are published on 127.0.0.1 only. The root file system is read-only, with /tmp in memory; no capabilities, no
    new privileges, never root. Files of the recipe lie in a folder of this machine that has the same path inside; it
    goes with the container unless `with_folder` names one.

    Errors of `start`: CapabilityMissing without an engine or the image, PortTaken, PlatformError for what else the
    engine refuses, ProcessExited and WaitTimeout with the end of the log if it does not become ready; nothing is left
    then.
    """

    def __init__(self, image: str, **kwargs: Any) -> None:
        with in_words(image):
            super().__init__(image, **kwargs)
        self.get_docker_client().client.close()  # until it is used: a container that is never started holds no socket
        self._own_folder: Path | None = None
        self._folder: Path | None = None
        self._labels: dict[str, str] = {}
        self._started: Component | None = None
        self._startup_timeout_s = testcontainers_config.timeout

    @abstractmethod
    def recipe(self) -> Component:
        """What to start, as the options say so far."""

    def with_folder(self, folder: Path) -> Self:
        """Keep the component's files in this folder, which stays; it is made if it is not there."""
        self._folder = folder.absolute()
        return self

    def with_labels(self, labels: Mapping[str, str]) -> Self:
        """Add labels to those that say whose the container is."""
        self._labels.update(labels)
        return self

    def with_startup_timeout(self, seconds: float) -> Self:
        """How long `start` waits for its readiness (default: testcontainers' own, 120 s)."""
        self._startup_timeout_s = seconds
        return self

    @property
    def folder(self) -> Path:
        """Where the files of the recipe lie, here and inside; there from `start` on."""
        if self._folder is None:
            self._folder = self._own_folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
        return self._folder

    def start(self) -> Self:
        """Start it and return it ready."""
        try:
            recipe = self._started = self.recipe()
            client = self.get_docker_client()
            with in_words(recipe.name):
                require_image(client, self.image)
                reaper(client)
                return super().start()
        except BaseException:
            self.stop()
            raise

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:
        """Remove the container, and the folder if nobody named one; again does nothing."""
        try:
            with contextlib.suppress(NotFound):
                super().stop(force, delete_volume)
        finally:
            self._container = None
            if self._own_folder is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)
                self._folder = self._own_folder = None

    def get_container_host_ip(self) -> str:
        """The address that its ports are published on."""
        return LOOPBACK

    def get_url(self, port: str = "") -> str:
        """The URL of a port by its name in the recipe (default: the first), from this machine."""
        recipe = self._running()
        return f"http://{LOOPBACK}:{self.get_exposed_port(recipe.inside[port or recipe.ports[0]])}"

    def get_connection_url(self) -> str:
        """Where its clients on this machine find it."""
        return self.get_url()

    def get_network_url(self, port: str = "") -> str:
        """The URL of a port for the other containers of its network."""
        recipe = self._running()
        return f"http://{self._alias(recipe)}:{recipe.inside[port or recipe.ports[0]]}"

    def _configure(self) -> None:
        recipe = self._running()
        template = {"argv": recipe.argv, "env": recipe.env}
        filled = fill(template, folder=self.folder, ports=recipe.inside, host=EVERY_INTERFACE)
        self._command = self._command or filled["argv"]
        self.env = {**filled["env"], **self.env}
        for port in recipe.inside.values():
            self.ports.setdefault(str(port), None)
        self.ports = {port: _on_loopback(host) for port, host in self.ports.items()}
        self.tmpfs = {"/tmp": "", **dict.fromkeys(recipe.scratch, ""), **self.tmpfs}
        if self._network is not None and not self._network_aliases:
            self.with_network_aliases(recipe.name)
        self._wait_strategy = self._wait_strategy or RecipeReady(recipe, self._startup_timeout_s)
        self._kwargs = {**self._restrictions(recipe), **self._kwargs}
        if _has_folder(recipe):
            self._lay_out(recipe)

    def _restrictions(self, recipe: Component) -> dict[str, Any]:
        memory = recipe.limits.memory_mib * _MIB
        return {
            "labels": {**owned(), **self._labels},
            "mem_limit": memory,
            "memswap_limit": memory,
            "nano_cpus": int(min(recipe.limits.cpus, os.cpu_count() or 1) * 1e9),
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            **({"user": recipe.user} if recipe.user else {}),
        }

    def _lay_out(self, recipe: Component) -> None:
        """Write the files, give them to whom the container runs as, and mount their folder."""
        write_files(recipe, self.folder, recipe.inside, host=EVERY_INTERFACE)
        user, group = os.geteuid() or NOBODY, os.getegid() or NOBODY
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user, group, follow_symlinks=False)
        self._kwargs.setdefault("user", f"{user}:{group}")
        self.with_volume_mapping(self.folder, str(self.folder), "rw")

    def _get_exposed_port(self, port: int) -> int:
        return int(self.get_docker_client().port(self.get_container_id(), port))

    def _running(self) -> Component:
        return self._started or self.recipe()

    def _alias(self, recipe: Component) -> str:
        return self._network_aliases[0] if self._network_aliases else recipe.name


class ComponentContainer(RecipeContainer):
    """The container of one recipe that has an image."""

    def __init__(self, component: Component, **kwargs: Any) -> None:
        super().__init__(component.image, **kwargs)
        self._component = component

    def recipe(self) -> Component:
        return self._component


def _has_folder(recipe: Component) -> bool:
    return bool(recipe.files) or "{folder}" in repr((recipe.argv, recipe.env))


def _on_loopback(host_port: Any) -> Any:
    """A published port as docker's client takes it; testcontainers' own type is the port alone."""
    return host_port if isinstance(host_port, tuple) else (LOOPBACK, host_port)
