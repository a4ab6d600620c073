"""A kept database server: left, taken again, shared, cleared of what killed runs left in it, and ended when told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.containers import stores
from harness.cli import run_command
from harness.containers.labels import OWNER, STORE
from harness.images.engine import docker as call
from harness.runtime.supervisor import base_env

PLATFORM = """
import json, os, signal, sys
from pathlib import Path
from harness.backends.backend import Part
from harness.backends.containers.backend import ContainersBackend
from harness.backends.containers.stores import Keeping
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
folder, flag, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
folder.mkdir()
keeping = Keeping(keep=flag == "keep", reuse=flag == "reuse")
backend = ContainersBackend(folder, EventLog(folder / "events.jsonl"), keeping=keeping)
try:
    backend.start([Part.TRACKING], Deadline.after(120))
    import mlflow
    client = mlflow.MlflowClient(backend.tracking_uri)
    client.create_registered_model("m")
    client.create_experiment("e")
    (folder / "maker").write_text(backend.ground.labels["rehearsal.dev/maker"])
    print(json.dumps([len(client.search_experiments()), len(client.search_registered_models())]), flush=True)
    if how == "waits":
        sys.stdin.read(1)
    if how == "killed":
        backend.supervisor._warden.kill()
        backend.supervisor._warden.wait()
        os.kill(os.getpid(), signal.SIGKILL)
finally:
    backend.close()
"""
FRESH = [2, 1]
"""MLflow's own experiment and one more, one model: nothing of another run is there."""


@pytest.fixture(autouse=True)
def places(docker_engine: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of each test's own, and with it a server; nothing of it is left."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    yield
    assert run_command(["gc", "--kept"]) == 0
    assert belonging() == []


def belonging() -> list[str]:
    """What Docker has of this test's server, by name."""
    label = f"label={STORE}={stores.name()}"
    found = call("ps", "--all", "--format", "{{.Names}}", "--filter", label).split()
    for kind in ("network", "volume"):
        found += call(kind, "ls", "--format", "{{.Name}}", "--filter", label).split()
    return sorted(found)


def server() -> str:
    """The id of its container."""
    return call("ps", "--quiet", "--no-trunc", "--filter", f"name=^{stores.name()}-postgres$").strip()


def databases() -> list[str]:
    """Those of runs."""
    query = "select datname from pg_database where datname like 'mlflow%'"
    argv = ("psql", "--host=/run/postgresql", "--username=postgres", "-At", f"--command={query}")
    return call("exec", f"{stores.name()}-postgres", *argv).split()


def started(folder: Path, flag: str, how: str = "ends") -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PLATFORM, str(folder), flag, how]
    return subprocess.Popen(argv, env=base_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ran(folder: Path, flag: str, how: str = "ends") -> tuple[int, list[object]]:
    """Exit code, and what a platform's registry has: how many experiments, and how many models."""
    process = started(folder, flag, how)
    said, _ = process.communicate(timeout=200)
    return process.returncode, json.loads(said.splitlines()[-1])


def told(folder: Path) -> str:
    return (folder / "events.jsonl").read_text(encoding="utf-8")


def kept_parts() -> list[str]:
    return sorted([stores.name(), f"{stores.name()}-postgres", f"{stores.name()}-postgres"])


def test_what_is_kept_is_taken_again_cleared_and_ended_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keep, reuse, kill -9 without a warden, gc, reuse, gc --kept: every run has an empty registry, and one server."""
    assert ran(tmp_path / "kept", "keep") == (0, FRESH)
    before = server()
    assert before
    assert belonging() == kept_parts()
    assert databases() == []
    assert ran(tmp_path / "reused", "reuse") == (0, FRESH)
    assert "took the one that was kept" in told(tmp_path / "reused")

    assert ran(tmp_path / "killed", "reuse", "killed")[0] == -signal.SIGKILL
    (left,) = databases()
    capsys.readouterr()
    assert run_command(["gc"]) == 0
    assert f"left alone: PostgreSQL server {stores.name()}, which is kept; --kept ends it" in capsys.readouterr().out
    maker = (tmp_path / "killed" / "maker").read_text()
    assert call("ps", "--all", "--quiet", "--filter", f"label={OWNER}={maker}") == ""
    assert (server(), belonging()) == (before, kept_parts())
    assert ran(tmp_path / "after", "reuse") == (0, FRESH)
    assert f"dropped {left}, which a run that died has left" in told(tmp_path / "after")
    assert (server(), databases()) == (before, [])

    assert run_command(["gc", "--kept"]) == 0
    assert belonging() == []
    assert list(stores.folder().iterdir()) == []


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each has a registry of its own; the end of one, and `gc --kept`, leave the other what it works on."""
    both = [started(tmp_path / name, "reuse", "waits") for name in ("one", "other")]
    said = [json.loads(process.stdout.readline()) for process in both if process.stdout]
    assert said == [FRESH, FRESH]
    assert len(databases()) == 2
    before = server()
    both[0].communicate("\n", timeout=60)
    assert run_command(["gc", "--kept"]) == 0
    assert (server(), len(databases())) == (before, 1)
    both[1].communicate("\n", timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert databases() == []


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("stopped", "it does not answer"),
        ("image", "its image is not the one that there is now"),
        ("unfinished", "it was not made to its end"),
        ("kept", "it was kept; --reuse would take it"),
    ],
)
def test_one_that_will_not_do_is_made_anew_and_that_is_said(tmp_path: Path, harm: str, why: str) -> None:
    """Whatever it is, nothing of the former one is left."""
    assert ran(tmp_path / "kept", "keep") == (0, FRESH)
    before, state = server(), stores.read(stores.name())
    assert state is not None
    if harm == "stopped":
        call("stop", "--time", "0", before)
    if harm == "image":
        stores.write(replace(state, image="sha256:old"))
    if harm == "unfinished":
        stores.write(replace(state, ready=False))
    assert ran(tmp_path / "next", "keep" if harm == "kept" else "reuse") == (0, FRESH)
    assert f"removing the one that is there: {why}" in told(tmp_path / "next")
    assert server() not in ("", before)
    assert belonging() == kept_parts()


def test_its_password_is_in_no_label_and_no_command_line(tmp_path: Path) -> None:
    """Only in the state file, which is its user's alone, and where the containers read it: their environment."""
    process = started(tmp_path / "run", "reuse", "waits")
    assert process.stdout is not None
    assert process.stdout.readline()
    state = stores.read(stores.name())
    assert state is not None
    secret = state.password
    ids = call("ps", "--quiet", "--filter", f"label={STORE}={stores.name()}").split()
    assert len(ids) == 2, "PostgreSQL and one MLflow server"
    form = "{{json .Config.Labels}} {{json .Config.Cmd}} {{json .Path}} {{json .Args}}"
    shown = call("inspect", "--format", form, *ids) + call("network", "inspect", stores.name())
    shown += "".join(call("top", each, "-eo", "pid,args") for each in ids)
    process.communicate("\n", timeout=60)
    assert re.fullmatch(r"[0-9a-f]{32}", secret)
    assert secret not in shown
    files = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]
    assert files == [stores.state_file(stores.name())]
    assert files[0].stat().st_mode & 0o077 == 0
