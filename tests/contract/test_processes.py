"""Every child belongs to its run: it is noticed when it dies, stopped at the end, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.runtime import state
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.nursery import Nursery
from harness.runtime.paths import state_home
from harness.runtime.supervisor import Supervisor, base_env
from harness.runtime.wait import wait

PARENT = """
import os, sys
from pathlib import Path
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor
folder = Path(sys.argv[1])
supervisor = Supervisor(folder, EventLog(folder / "events.jsonl")).__enter__()
nursery = supervisor.nursery("nursery", ["json"])
children = [supervisor.spawn("spawned", ["sleep", "60"]), supervisor.fork("forked", "time:sleep", 60, nursery=nursery)]
if sys.argv[2:] == ["without a warden"]:
    supervisor._warden.kill()
    supervisor._warden.wait()
(folder / "pids").write_text(" ".join(str(child.pid) for child in [*children, nursery.child]))
os.kill(os.getpid(), 9)
"""


STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    events = EventLog(tmp_path / "events.jsonl")
    with Supervisor(tmp_path, events) as running:
        yield running
    events.close()


@pytest.fixture
def nursery(supervisor: Supervisor) -> Nursery:
    return supervisor.nursery("nursery", ["json"])


def test_a_child_that_dies_is_reported_with_its_exit_code(supervisor: Supervisor) -> None:
    died = threading.Event()
    codes: list[int] = []

    def on_death(code: int) -> None:
        codes.append(code)
        died.set()

    child = supervisor.spawn("sleeper", ["sleep", "60"])
    supervisor.on_death(child, on_death)
    child.kill(signal.SIGKILL)
    assert died.wait(10)
    assert codes == [-signal.SIGKILL]


def test_a_stopped_child_is_not_reported_as_dead(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.spawn("sleeper", ["sleep", "60"])
    assert supervisor.stop(child) == -signal.SIGTERM
    supervisor.close()
    assert "process.died" not in (tmp_path / "events.jsonl").read_text()


def test_what_a_child_started_is_stopped_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild"
    child = supervisor.spawn("shell", ["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"])
    grandchild = Identity.of(int(_content(pid_file)))
    assert grandchild.alive()
    supervisor.stop(child)
    wait(lambda: not grandchild.alive(), what="the grandchild's end", deadline=Deadline.after(5))


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    marker = tmp_path / "ignoring"
    child = supervisor.spawn("stubborn", [sys.executable, "-S", "-c", STUBBORN, str(marker)])
    wait(marker.exists, what="the handler", deadline=Deadline.after(10), child=child)
    assert supervisor.stop(child, grace_s=0.1) == -signal.SIGKILL


def test_a_forked_child_writes_its_own_log_and_tells_its_exit_code(supervisor: Supervisor, nursery: Nursery) -> None:
    child = supervisor.fork("worker", "builtins:print", "hello from the fork", nursery=nursery, task=True)
    assert child.wait(10) == 0
    assert child.tail() == "hello from the fork"


def test_a_forked_child_that_raises_ends_with_1_and_leaves_the_reason_in_its_log(
    supervisor: Supervisor, nursery: Nursery
) -> None:
    child = supervisor.fork("worker", "json:loads", "{broken", nursery=nursery, task=True)
    assert child.wait(10) == 1
    assert "JSONDecodeError" in child.tail()


def test_a_forked_child_killed_by_9_tells_the_signal(supervisor: Supervisor, nursery: Nursery) -> None:
    child = supervisor.fork("worker", "time:sleep", 60, nursery=nursery)
    child.kill()
    assert child.wait(10) == -signal.SIGKILL


def test_forked_children_end_when_their_nursery_is_killed(supervisor: Supervisor, nursery: Nursery) -> None:
    child = supervisor.fork("worker", "time:sleep", 60, nursery=nursery)
    nursery.child.kill()
    assert child.wait(10) == -signal.SIGKILL


def test_a_warm_python_runs_a_module_with_arguments_streams_and_exit_code(
    supervisor: Supervisor, nursery: Nursery, tmp_path: Path
) -> None:
    python = nursery.warm_python(tmp_path)
    good = subprocess.run(
        [python, "-m", "json.tool", "--compact"], input='{"a": 1}', capture_output=True, text=True, timeout=30
    )
    bad = subprocess.run([python, "-m", "json.tool"], input="{", capture_output=True, text=True, timeout=30)
    assert (good.returncode, good.stdout) == (0, '{"a":1}\n')
    assert bad.returncode == 1
    assert "Expecting" in bad.stderr


def test_a_parent_killed_by_9_leaves_no_children(tmp_path: Path) -> None:
    children = _killed_parent(tmp_path)
    wait(lambda: not any(child.alive() for child in children), what="the children's end", deadline=Deadline.after(10))
    wait(lambda: not list(state_home().glob("*.json")), what="the state file's end", deadline=Deadline.after(10))


def test_orphans_of_a_parent_and_warden_killed_by_9_are_collected_at_the_next_start(tmp_path: Path) -> None:
    spawned, *_ = _killed_parent(tmp_path, "without a warden")
    assert spawned.alive()
    events = EventLog(tmp_path / "next.jsonl")
    with Supervisor(tmp_path, events):
        assert not spawned.alive()
    events.close()
    assert "spawned" in (tmp_path / "next.jsonl").read_text()


def test_gc_never_kills_a_process_that_only_has_the_pid_of_a_dead_child() -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        recycled = state.ChildState("envoy", Identity(bystander.pid, start=1))
        dead_owner = Identity(os.getpid(), start=1)
        state.write(state.state_path("run"), state.RunState("run", "folder", dead_owner, children=(recycled,)))
        assert state.gc() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def _killed_parent(folder: Path, *args: str) -> list[Identity]:
    """Runs a parent that starts a spawned child, a forked one and a nursery, and kills itself by -9."""
    env = {**base_env(), "REHEARSAL_STATE": str(folder / "state")}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder), *args], env=env)
    children = [Identity.of(int(pid)) for pid in _content(folder / "pids").split()]
    assert parent.wait(10) == -signal.SIGKILL
    return children


def _content(path: Path) -> str:
    """The text of a file, once somebody has written it."""
    return wait(
        lambda: path.read_text().strip() if path.exists() else None, what=path.name, deadline=Deadline.after(30)
    )
