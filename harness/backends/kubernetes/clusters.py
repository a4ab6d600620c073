"""Which kind clusters are ours, who uses them, and which nobody does any more.

A cluster's state file is there before the first container is, so that whoever comes after a crash finds what to delete.
A cluster is deleted when its last user has gone, unless it is kept; a user that died counts as gone. One that was made
of another node image than there is now is never taken: it would run the code of before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Self

from harness.errors import ConfigError
from harness.runtime import lock
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.paths import state_home

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

    def used_by(self, user: Identity, *, kept: bool) -> Self:
        return replace(self, users=(*self.living(), user), kept=self.kept or kept)

    def left_by(self, user: Identity) -> Self:
        """Without one use of it by this process, which may have others."""
        users = list(self.living())
        if user in users:
            users.remove(user)
        return replace(self, users=tuple(users))


class Way(Enum):
    """How a session comes by its cluster."""

    JOIN = "others use it now"
    REVIVE = "it was kept, and nobody uses it"
    MAKE = "there is none that will do"


@dataclass(frozen=True)
class Words:
    """What is shared, and what it was made of, for people."""

    what: str
    image: str


CLUSTER = Words("cluster", "node image")


def way(state: ClusterState | None, image: str, *, reuse: bool, words: Words = CLUSTER) -> tuple[Way, str]:
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
            f"The {words.what} {state.name} runs another {words.image} than there is now, "
            f"and process {living[0].pid} uses it.",
            hint=f"wait for its end; or without --keep and --reuse, for a {words.what} of your own",
        )
    if not reuse:
        return Way.MAKE, "it was kept; --reuse would take it"
    other = f"its {words.image} is not the one that there is now"
    return (Way.REVIVE, "") if state.image == image else (Way.MAKE, other)


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
    what = f"the cluster {name}, which another process makes"
    with lock.locked(folder() / f"{name}.lock", what, deadline, needed=_path(name).exists):
        yield


def _path(name: str) -> Path:
    return folder() / f"{name}.json"
