"""From what a user says of the world to a backend: one for a run, or a session whose platforms share what is warm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from harness.backends.backend import Backend
from harness.backends.embedded.warmth import Warmth
from harness.backends.kubernetes.registry import check_prefix
from harness.backends.kubernetes.world import World, WorldOptions
from harness.errors import CapabilityMissing, ConfigError
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from harness.backends.containers.stores import Keeping

BACKENDS = ("embedded", "containers", "kind", "kubernetes")
KEEPING = ("kind", "containers")
"""Those that have something to keep between sessions."""
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Session(Protocol):
    """What the platforms of one session share; a context manager."""

    folder: Path

    def backend(self, folder: Path, events: EventLog) -> Backend:
        """A backend with clean state for one platform."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_session(options: WorldOptions, folder: Path) -> Session:
    """The session of this world, with its logs in `folder`; a cluster is opened for its first backend."""
    check(options)
    if options.backend == "embedded":
        from harness.backends.embedded.session import Session as EmbeddedSession

        return EmbeddedSession(folder, node=options.node)
    if options.backend == "containers":
        with asked_for(options.backend):
            from harness.backends.containers.session import ContainerSession

            return ContainerSession(folder, node=options.node, keeping=_keeping(options))
    return ClusterSession(folder, options)


@contextmanager
def open_backend(options: WorldOptions, folder: Path, events: EventLog) -> Iterator[Backend]:
    """The backend of a single run, in a world of its own."""
    check(options)
    if options.backend == "embedded":
        from harness.backends.embedded.backend import EmbeddedBackend

        yield EmbeddedBackend(folder, events, node=options.node)
        return
    if options.backend == "containers":
        yield _container_backend(options, folder, events)
        return
    from harness.backends.kubernetes.backend import KubernetesBackend

    world = open_world(options, folder, events)
    try:
        yield KubernetesBackend(folder, events, world)
    finally:
        world.close()


def require(options: WorldOptions) -> None:
    """ConfigError, one line, for what this machine lacks for the world that the options name; nothing is made."""
    if options.backend == "kind":
        with asked_for(options.backend):
            from harness.backends.kubernetes.kind import KindWorld

            KindWorld.require()


def _container_backend(options: WorldOptions, folder: Path, events: EventLog) -> Backend:
    with asked_for(options.backend):
        from harness.backends.containers.backend import ContainersBackend
        from harness.backends.containers.engine import require
        from harness.backends.containers.kept import check as check_kept

        require()
        keeping = _keeping(options)
        check_kept(keeping)
        backend = ContainersBackend(folder, events, node=options.node, keeping=keeping)
        try:
            backend.ground.network  # noqa: B018 - what it cannot be had for is told before anything starts
        except BaseException:
            backend.close()
            raise
        return backend


def _keeping(options: WorldOptions) -> Keeping:
    from harness.backends.containers.stores import Keeping

    return Keeping(keep=options.keep, reuse=options.reuse)


def open_world(options: WorldOptions, folder: Path, events: EventLog) -> World:
    """The cluster that the options name; ConfigError, one line, for what it or this machine lacks."""

    def told(name: str, message: str) -> None:
        events.emit("world.component", name, message)

    with asked_for(options.backend):
        if options.backend == "kind":
            from harness.backends.kubernetes.kind import KindWorld

            return KindWorld.open(options, told)
        from harness.backends.kubernetes.foreign import ForeignWorld

        return ForeignWorld.open(options, folder, events, told)


@contextmanager
def asked_for(backend: str) -> Iterator[None]:
    """What a world lacks that was asked for by name is no skip, but a ConfigError."""
    try:
        yield
    except CapabilityMissing as missing:
        raise ConfigError(f"--backend {backend}: {missing.message}", hint=missing.hint) from missing
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--backend {backend}: the package {error.name} is missing", hint=f"pip install 'rehearsal[{backend}]'"
        ) from error


class ClusterSession:
    """The platforms of one session on one cluster."""

    def __init__(self, folder: Path, options: WorldOptions) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._options = options
        self._events = EventLog(folder / "events.jsonl")
        self._supervisor = Supervisor(folder, self._events)
        self._warmth = Warmth(self._supervisor)
        self._world: World | None = None

    def __enter__(self) -> Self:
        self._supervisor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._world is not None:
                self._world.close()
        finally:
            self._supervisor.close()
            self._events.close()

    @property
    def world(self) -> World:
        """The cluster; opened when first asked for."""
        if self._world is None:
            self._world = open_world(self._options, self.folder, self._events)
        return self._world

    def backend(self, folder: Path, events: EventLog) -> Backend:
        from harness.backends.kubernetes.backend import KubernetesBackend

        return KubernetesBackend(folder, events, self.world, warmth=self._warmth)


def check(options: WorldOptions) -> None:
    """ConfigError, one line, for options that make no sense."""
    if options.backend not in BACKENDS:
        raise ConfigError(f"--backend: expected one of {', '.join(BACKENDS)}, got {options.backend!r}")
    if options.backend == "kubernetes" and not options.context:
        raise ConfigError(
            "--backend kubernetes: needs --context NAME; the current context of a kubeconfig is never used unnamed"
        )
    cluster_only = {
        "--context": options.context,
        "--install": options.install,
        "--namespaces": options.namespaces,
        "--image-prefix": options.image_prefix,
    }
    for flag, value in cluster_only.items() if options.backend != "kubernetes" else ():
        if value:
            raise ConfigError(f"{flag}: is for --backend kubernetes, but the backend is {options.backend}")
    if options.image_prefix:
        check_prefix(options.image_prefix)
    if options.reuse and options.backend not in KEEPING:
        raise ConfigError(f"--reuse: is for --backend {' or '.join(KEEPING)}, but the backend is {options.backend}")


def namespaces(text: str | None) -> Mapping[str, str]:
    """The mapping of "production=team-a,staging=team-b"; ConfigError names the part that is wrong."""
    found: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        logical, _, physical = part.partition("=")
        if not (_NAMESPACE.fullmatch(logical) and _NAMESPACE.fullmatch(physical)):
            raise ConfigError(f"--namespaces: expected NAME=NAMESPACE,... as production=team-a, got {part!r}")
        found[logical] = physical
    return found
