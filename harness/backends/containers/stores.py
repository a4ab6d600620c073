"""The PostgreSQL server that --keep leaves and --reuse takes: its state file, which says who uses it.

There is one for a user, a machine (and a namespace of pids) and a state folder: what the state says of processes means
something to whoever reads it. The decisions are those about kind clusters.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.backends.kubernetes.clusters import ClusterState, Words
from harness.components import mlflow, postgres
from harness.runtime import lock
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner
from harness.runtime.paths import state_home

WORDS = Words("PostgreSQL server", "image")
PREFIX = "mlflow"
"""What the names of databases begin with; the process that made one follows."""
_PRIVATE = 0o600


@dataclass(frozen=True)
class Keeping:
    """What a user says of the server: whether it stays, and whether one that stayed is taken, which then stays on."""

    keep: bool = False
    reuse: bool = False

    def __bool__(self) -> bool:
        return self.keep or self.reuse


FOR_ITSELF = Keeping()
"""The session has a server of its own, which ends with it."""


@dataclass(frozen=True)
class StoreState(ClusterState):
    """One server; `maker` is an Owner in words. The file is read and written by its user alone: it has the password."""

    password: str = ""
    maker: str = ""

    def known(self) -> bool:
        """Whether its users are processes that this one can tell the living from the dead of."""
        maker = Owner.parse(self.maker)
        return maker is not None and (maker.here() or maker.place == Owner.me().place or maker.dead())


def folder() -> Path:
    path = state_home() / "stores"
    path.mkdir(exist_ok=True)
    return path


def name() -> str:
    """What this user's server is called here, in its state file and in Docker."""
    place = f"{os.geteuid()} {Owner.me().place} {folder()}"
    return f"rehearsal-kept-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def made_of(postgres_id: str, mlflow_id: str) -> str:
    """What a server is made of: the ids of both images, and the recipe."""
    recipe = hashlib.sha256(repr(postgres.postgres("")).encode()).hexdigest()
    return f"{postgres_id} {mlflow_id} {mlflow.version()} {recipe[:12]}"


def names() -> list[str]:
    """The servers that have a state file here."""
    return sorted(path.stem for path in folder().glob("*.json"))


def strangers() -> list[str]:
    """Whose the other kept servers are, that have their state file here but another user or place."""
    others = [state for each in names() if each != name() and (state := read(each))]
    return [maker.words for state in others if (maker := Owner.parse(state.maker))]


def state_file(name: str) -> Path:
    return folder() / f"{name}.json"


def read(name: str) -> StoreState | None:
    """The state of a server; None if there is none that can be read."""
    try:
        data = json.loads(state_file(name).read_text(encoding="utf-8"))
        return StoreState(**{**data, "users": tuple(Identity(**user) for user in data["users"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(state: StoreState) -> None:
    """Write the state beside its place and rename it; nobody else may read it."""
    beside = state_file(state.name).with_suffix(f".{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(state)))
    beside.replace(state_file(state.name))


def forget(name: str) -> None:
    """Remove what is kept of a server here."""
    state_file(name).unlink(missing_ok=True)


@contextmanager
def locked(name: str, deadline: Deadline, *, fail: Callable[[], str | None] | None = None) -> Iterator[None]:
    """Within it no other process makes, takes or removes this server; `fail` as in `lock.locked`."""
    what = f"the {WORDS.what} {name}, which another process makes"
    with lock.locked(folder() / f"{name}.lock", what, deadline, needed=state_file(name).exists, fail=fail):
        yield


def database_of(user: Identity, end: str) -> str:
    """The name of a database that tells the process that it is for."""
    return f"{PREFIX}_{user.pid}_{user.start}_{end}"


def left_over(databases: list[str], living: tuple[Identity, ...]) -> list[str]:
    """Those of the databases that are for none of the living processes."""
    used = tuple(database_of(user, "") for user in living)
    return [each for each in databases if each.startswith(f"{PREFIX}_") and not each.startswith(used)]
