"""Which kind clusters are ours, who uses them, and which nobody does any more.

A cluster's state file is there before the first container is, so that whoever comes after a crash finds what to delete.
A cluster is deleted when its last user has gone, unless it is kept; a user that died counts as gone. One that was made
of another node image than there is now is never taken: it would run the code of before.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import IO

from harness.errors import ConfigError
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.paths import state_home
from harness.runtime.wait import wait

KEPT = "rehearsal"
"""The name of the cluster that --keep leaves and --reuse takes."""


@dataclass(frozen=True)
class ClusterState:
    """One cluster: whether it was made to the end, whether it is kept, and the processes that use it.

    `image` is the id of the image that its node was made of.
    """

    name: str
    ready: bool = False
    kept: bool = False
    users: tuple[Identity, ...] = ()
    image: str = ""

    def living(self) -> tuple[Identity, ...]:
        return tuple(user for user in self.users if user.alive())

    def abandoned(self) -> bool:
        """Whether nobody uses it, and it is not kept; one that was never made to the end is of no use to anybody."""
        return not self.living() and not (self.kept and self.ready)

    def used_by(self, user: Identity, *, kept: bool) -> ClusterState:
        return replace(self, users=(*self.living(), user), kept=self.kept or kept)

    def left_by(self, user: Identity) -> ClusterState:
        return replace(self, users=tuple(each for each in self.living() if each != user))


class Way(Enum):
    """How a session comes by its cluster."""

    JOIN = "others use it now"
    REVIVE = "it was kept, and nobody uses it"
    MAKE = "there is none that will do"


def way(state: ClusterState | None, image: str, *, reuse: bool) -> tuple[Way, str]:
    """How to come by a cluster, and in words why one that is there is removed, if it is.

    ConfigError where other processes use one of another image: neither may it be removed nor taken.
    """
    if state is None:
        return Way.MAKE, ""
    if not state.ready:
        return Way.MAKE, "it was not made to its end"
    if living := state.living():
        if state.image == image:
            return Way.JOIN, ""
        raise ConfigError(
            f"The cluster {state.name} runs another node image than there is now, and process {living[0].pid} uses it.",
            hint="wait for its end; or without --keep and --reuse, for a cluster of your own",
        )
    if not reuse:
        return Way.MAKE, "it was kept; --reuse would take it"
    return (Way.REVIVE, "") if state.image == image else (Way.MAKE, "its node image is not the one that there is now")


def session_name(options_reuse: bool, options_keep: bool) -> str:
    """What the cluster of this session is called; the workers of one pytest-xdist run share one."""
    if options_reuse or options_keep:
        return KEPT
    shared = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    return f"rehearsal-{shared[:8] or os.urandom(4).hex()}"


def folder() -> Path:
    path = state_home() / "clusters"
    path.mkdir(exist_ok=True)
    return path


def kubeconfig(name: str) -> Path:
    return folder() / f"{name}.kubeconfig"


def kind_log(name: str) -> Path:
    return folder() / f"{name}.kind.log"


def kind_config(name: str) -> Path:
    return folder() / f"{name}.kind.yaml"


def read(name: str) -> ClusterState | None:
    """The state of a cluster; None if there is none that can be read."""
    try:
        data = json.loads(_path(name).read_text(encoding="utf-8"))
        return ClusterState(**{**data, "users": tuple(Identity(**user) for user in data["users"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(state: ClusterState) -> None:
    """Write the state beside its place and rename it."""
    beside = _path(state.name).with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(asdict(state)), encoding="utf-8")
    beside.replace(_path(state.name))


def forget(name: str) -> None:
    """Remove what is kept of a cluster here."""
    for path in (_path(name), kubeconfig(name), kind_log(name), kind_config(name)):
        path.unlink(missing_ok=True)


def names() -> list[str]:
    """The clusters that have a state file here."""
    return sorted(path.stem for path in folder().glob("*.json"))


@contextmanager
def locked(name: str, deadline: Deadline) -> Iterator[None]:
    """Within it no other process makes, takes or deletes this cluster."""
    path = folder() / f"{name}.lock"
    file = wait(lambda: _lock(path), what=f"the cluster {name}, which another process makes", deadline=deadline)
    with file:
        yield
        if not _path(name).exists():
            path.unlink(missing_ok=True)


def _lock(path: Path) -> IO[str] | None:
    """The locked file; None while another process has it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except BlockingIOError:
        pass
    file.close()  # or its last user removed it meanwhile: the next try makes it anew
    return None


def _path(name: str) -> Path:
    return folder() / f"{name}.json"
