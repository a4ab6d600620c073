"""The database server that --keep leaves: who may take it, what goes with a run, and what gc does, without Docker."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backends.containers import backend, engine, kept, session, stores, sweep
from harness.backends.containers.database import MAINTENANCE, TEMPLATE
from harness.backends.containers.ground import Ground
from harness.backends.containers.kept import KeptDatabase, StoreGround
from harness.backends.containers.launcher import Containers
from harness.backends.containers.stores import Keeping, StoreState, database_of, left_over
from harness.backends.kubernetes.clusters import Way, way
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import open_backend, open_session
from harness.containers.labels import STORE
from harness.errors import ConfigError, PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner
from harness.runtime.state import is_gone

ME = Identity.of(os.getpid())
DEAD = Identity(ME.pid, ME.start + 1)
NOW = stores.made_of("id", "id")
KEPT = StoreState("s", ready=True, kept=True, image=NOW, password="secret", maker=str(Owner.me()))
STATES = sweep._states
STRANGER = str(replace(Owner.me(), boot="another", host="elsewhere"))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path))
    monkeypatch.setattr(kept, "image_id", lambda image: "id")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / "events.jsonl")) as log:
        yield log


class Fake(KeptDatabase):
    """Notes what would be done in Docker; a server that is kept answers as `answers` says."""

    answers = True
    databases: tuple[str, ...] = ()

    def __init__(self, events: EventLog, folder: Path, keeping: Keeping) -> None:
        self.done: list[str] = []
        self.ground = StoreGround(stores.name())
        super().__init__(Containers(Any, self.ground), events, folder, keeping)  # type: ignore[arg-type]

    def _server_of(self, name: str, deadline: Deadline) -> Any:
        if not self.answers:
            raise PlatformError("no such container")
        return object()

    def _started_anew(self, deadline: Deadline) -> Any:
        self.done.append("made")
        return object()

    def _migrate(self, deadline: Deadline) -> None:
        self.done.append("migrated")

    def _run(self, program: str, *arguments: str) -> str:
        if arguments[-1] == MAINTENANCE and "select" in arguments[-2]:
            return "\n".join(("postgres", TEMPLATE, *self.databases))
        self.done.append(arguments[-2])
        return ""


def told(events: EventLog) -> str:
    return events.path.read_text(encoding="utf-8")


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    labels: list[str] = []

    def remove(label: str) -> list[str]:
        labels.append(label)
        return [f"container {label.partition('=')[2]}"]

    monkeypatch.setattr(sweep, "remove", remove)
    monkeypatch.setattr(sweep, "_owners", lambda kind: [])
    monkeypatch.setattr(sweep, "_states", list)
    return labels


@pytest.mark.parametrize(
    ("state", "reuse", "expected", "why"),
    [
        (None, True, Way.MAKE, ""),
        (replace(KEPT, users=(DEAD,)), True, Way.REVIVE, ""),
        (replace(KEPT, users=(ME,)), False, Way.JOIN, ""),
        (KEPT, False, Way.MAKE, "it was kept; --reuse would take it"),
        (replace(KEPT, image="old"), True, Way.MAKE, "its image is not the one that there is now"),
        (replace(KEPT, ready=False), True, Way.MAKE, "it was not made to its end"),
    ],
)
def test_a_server_is_taken_only_if_it_is_made_of_what_there_is_now(
    state: StoreState | None, reuse: bool, expected: Way, why: str
) -> None:
    """In the words that are said of a kind cluster."""
    assert way(state, NOW, reuse=reuse, words=stores.WORDS) == (expected, why)


@pytest.mark.parametrize("other", ["postgres", "mlflow"])
def test_another_image_of_either_makes_another_server(other: str) -> None:
    """MLflow's release decides what the migrated database looks like."""
    ids = {"postgres": "id", "mlflow": "id", other: "other"}
    assert stores.made_of(ids["postgres"], ids["mlflow"]) != NOW


def test_a_server_of_another_image_is_not_taken_from_who_uses_it() -> None:
    """One line before anything starts, with the process and what to do."""
    stores.write(replace(KEPT, name=stores.name(), image="old", users=(ME,)))
    with pytest.raises(ConfigError, match=f"runs another image than there is now, and process {ME.pid} uses it"):
        kept.check(Keeping(reuse=True))


def test_nobody_else_reads_the_password(tmp_path: Path) -> None:
    """The state is its user's alone, and the name, which is a label, says nothing of it."""
    stores.write(KEPT)
    assert stat.S_IMODE(stores.state_file("s").stat().st_mode) == 0o600
    assert stores.read("s") == KEPT
    assert [path.name for path in stores.folder().iterdir()] == ["s.json"]


def test_another_user_place_or_state_folder_has_another_server(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a home or an engine is shared, pids of elsewhere say nothing."""
    names = {stores.name()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4242)
        names.add(stores.name())
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "me", classmethod(lambda cls: Owner.parse(STRANGER)))
        names.add(stores.name())
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path_factory.mktemp("other")))
    names.add(stores.name())
    assert len(names) == 4


def test_a_kept_server_is_taken_and_what_dead_runs_left_in_it_dropped(
    tmp_path: Path, events: EventLog, removed: list[str]
) -> None:
    """Never what a living session has, nor what is not ours."""
    other = Identity.of(os.getppid())
    stores.write(replace(KEPT, name=stores.name(), users=(DEAD, other)))
    database = Fake(events, tmp_path, Keeping(reuse=True))
    left, living = database_of(DEAD, "1"), database_of(other, "1")
    database.databases = (left, living, "somebodys")
    database.start(Deadline.after(5))
    assert database.done == [f'--command=drop database if exists "{left}" with (force)']
    assert removed == []
    state = stores.read(stores.name())
    assert state is not None
    assert state.users == (other, ME)
    assert "took the one that was kept" in told(events)


def test_a_kept_server_that_does_not_answer_is_made_anew_and_that_is_said(
    tmp_path: Path, events: EventLog, removed: list[str]
) -> None:
    """With a password of its own, after what was left of it has been removed."""
    stores.write(replace(KEPT, name=stores.name()))
    database = Fake(events, tmp_path, Keeping(reuse=True))
    database.answers = False
    database.start(Deadline.after(5))
    assert database.done == ["made", "migrated"]
    assert removed == [f"{STORE}={stores.name()}"]
    assert "removing the one that is there: it does not answer" in told(events)
    state = stores.read(stores.name())
    assert state is not None
    assert (state.ready, state.kept, state.users) == (True, True, (ME,))
    assert state.password not in ("", "secret")


def test_a_server_that_does_not_answer_is_not_removed_from_under_who_uses_it(
    tmp_path: Path, events: EventLog, removed: list[str]
) -> None:
    """It may be slow for a moment; one line with the process, and what to do."""
    other = Identity.of(os.getppid())
    stores.write(replace(KEPT, name=stores.name(), users=(other,)))
    database = Fake(events, tmp_path, Keeping(reuse=True))
    database.answers = False
    with pytest.raises(PlatformError, match=f"does not answer, and process {other.pid} uses it"):
        database.start(Deadline.after(5))
    assert (database.done, removed) == ([], [])


def test_a_session_that_ends_while_it_takes_the_server_leaves_it(
    tmp_path: Path, events: EventLog, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is no proof that it does not answer."""
    monkeypatch.setattr(sweep, "remove", lambda label: [])
    stores.write(replace(KEPT, name=stores.name()))
    database = Fake(events, tmp_path, Keeping(reuse=True))
    database.answers = False
    database.ground.close()
    with pytest.raises(PlatformError, match="no such container"):
        database._taken(replace(KEPT, name=stores.name()))
    assert stores.read(stores.name()) is not None


def test_what_somebody_else_keeps_is_left_alone_and_named(tmp_path: Path, events: EventLog, removed: list[str]) -> None:
    """Another machine with the same home: nothing is known of its processes."""
    stores.write(replace(KEPT, name="theirs", maker=STRANGER))
    Fake(events, tmp_path, Keeping(reuse=True)).start(Deadline.after(5))
    assert "of elsewhere keeps is another user's or place's" in told(events)
    assert sweep.gc(kept=False) == sweep.alone() == []
    assert stores.read("theirs") is not None


def test_a_server_that_does_not_become_ready_leaves_nothing(
    tmp_path: Path, events: EventLog, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in Docker nor in the state folder."""

    def fail(self: Fake, deadline: Deadline) -> None:
        raise PlatformError("no room")

    monkeypatch.setattr(Fake, "_migrate", fail)
    with pytest.raises(PlatformError, match="no room"):
        Fake(events, tmp_path, Keeping(keep=True)).start(Deadline.after(5))
    assert removed == [f"{STORE}={stores.name()}"] * 2
    assert list(stores.folder().iterdir()) == []


def test_a_session_leaves_the_server_without_its_databases(
    tmp_path: Path, events: EventLog, removed: list[str]
) -> None:
    """And another session of the same process keeps its own, and its use of the server."""
    one, other = (Fake(events, tmp_path, Keeping(reuse=True)) for _ in range(2))
    for opened, name in ((one, database_of(ME, "1")), (other, database_of(ME, "2"))):
        opened.start(Deadline.after(5))
        opened.create(name)
    one.done.clear()
    one.close()
    assert one.done == [f'--command=drop database if exists "{database_of(ME, "1")}" with (force)']
    state = stores.read(stores.name())
    assert state is not None
    assert state.users == (ME,)
    other.close()
    assert sweep.gc() == []
    assert sweep.alone() == [f"PostgreSQL server {stores.name()}"]
    assert sweep.gc(kept=True) == [f"container {stores.name()}"]
    assert list(stores.folder().iterdir()) == []


@pytest.mark.parametrize(
    ("state", "plain", "kept_too"),
    [
        (replace(KEPT, users=(ME,)), False, False),
        (replace(KEPT, users=(DEAD,)), False, True),
        (replace(KEPT, ready=False, users=(DEAD,)), True, True),
        (replace(KEPT, maker=STRANGER), False, False),
    ],
)
def test_gc_ends_what_is_of_no_use_and_with_kept_what_nobody_uses(
    state: StoreState, plain: bool, kept_too: bool, removed: list[str]
) -> None:
    """One that is used, or a stranger's, never."""
    stores.write(state)
    assert bool(sweep.gc()) is plain
    stores.write(state)
    assert bool(sweep.gc(kept=True)) is kept_too


@pytest.mark.parametrize(
    ("maker", "file", "gone"), [("dead", "", True), ("dead", "s", False), ("elsewhere", "", False)]
)
def test_a_server_whose_state_file_is_gone_goes_with_its_dead_maker(
    maker: str, file: str, gone: bool, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state folder that was deleted hides nothing from gc; that of another machine is not seen from here."""
    keeper = {"dead": str(replace(Owner.me(), process=DEAD)), "elsewhere": STRANGER}[maker]
    stores.write(replace(KEPT, users=(ME,)))
    line = f"{stores.state_file(file or 'gone')}\ts\t{keeper}"
    monkeypatch.setattr(sweep, "_states", STATES)
    monkeypatch.setattr(sweep, "_lines", lambda kind, form, label: [line])
    sweep.gc()
    assert removed == ([f"{STORE}=s"] if gone else [])


def test_the_options_reach_the_server_of_a_run_and_of_a_session(
    tmp_path: Path, events: EventLog, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line and pytest alike."""
    given: list[Keeping] = []

    class Registry:
        def __init__(self, *_: object, keeping: Keeping, **__: object) -> None:
            given.append(keeping)

        def prepare(self) -> None:
            """Nothing to be started."""

        stop = close = prepare

    monkeypatch.setattr(Ground, "network", None)
    for module in (backend, session):
        monkeypatch.setattr(module, "Registry", Registry)
    for each in (engine, session):
        monkeypatch.setattr(each, "require", lambda: None)
    options = WorldOptions("containers", keep=True, reuse=True)
    with open_backend(options, tmp_path / "run", events) as run, open_session(options, tmp_path / "session"):
        run.close()
    assert given == [Keeping(keep=True, reuse=True)] * 2


def test_a_run_that_goes_on_keeps_its_database() -> None:
    """The process that a name tells is known by its start, too: pids are given out again."""
    mine, dead = database_of(ME, "1"), database_of(DEAD, "1")
    assert left_over([mine, dead, "postgres", "template_mlflow"], (ME,)) == [dead]


def test_a_state_file_in_another_users_folder_is_not_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So gc leaves that server alone, and goes on."""

    def denied(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    assert is_gone(Path("/nowhere/s.json"))
    monkeypatch.setattr(Path, "is_file", denied)
    assert not is_gone(Path("/nowhere/s.json"))


def test_users_are_told_apart_though_the_machine_got_its_id_since() -> None:
    """As when a first package makes /etc/machine-id: pids of this boot and namespace still mean something."""
    assert replace(KEPT, maker=str(replace(Owner.me(), machine="before"))).known()
