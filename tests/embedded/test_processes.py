"""Every child belongs to its run: it is noticed when it dies, stopped at the end, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.backends.embedded import warmth
from harness.errors import PlatformError
from harness.runtime import owner, state
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.identity import Identity
from harness.runtime.nursery import Nursery
from harness.runtime.owner import Owner
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
beside = folder / "pids.new"
beside.write_text(" ".join(str(child.pid) for child in [*children, nursery.child]))
beside.rename(folder / "pids")
os.kill(os.getpid(), 9)
"""


STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""


NO_FORK_AT_FIRST = """
import os
fork = os.fork
def refuse():
    os.fork = fork
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refuse
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files with a short path: sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
        yield Path(folder)


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


def test_a_nursery_that_died_is_started_anew_when_it_is_asked_for(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platforms of a session share it: one death must not be the end of all that follow."""
    monkeypatch.setattr(warmth, "PRELOAD", ("json",))
    shared = warmth.Warmth(supervisor)
    first = shared.nursery()
    assert shared.nursery() is first
    first.child.kill()
    first.child.wait(10)
    worker = supervisor.fork("worker", "builtins:print", "alive", nursery=shared.nursery(), task=True)
    assert (worker.wait(20), worker.tail()) == (0, "alive")


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


def test_a_parent_killed_by_9_leaves_no_children(tmp_path: Path, scratch: Path) -> None:
    children = _killed_parent(tmp_path, scratch)
    wait(lambda: not any(child.alive() for child in children), what="the children's end", deadline=Deadline.after(10))
    wait(lambda: not list(state_home().glob("*.json")), what="the state file's end", deadline=Deadline.after(10))
    assert not list(scratch.iterdir())


def test_orphans_of_a_parent_and_warden_killed_by_9_are_collected_at_the_next_start(
    tmp_path: Path, scratch: Path
) -> None:
    spawned, *_ = _killed_parent(tmp_path, scratch, "without a warden")
    assert spawned.alive()
    events = EventLog(tmp_path / "next.jsonl")
    with Supervisor(tmp_path, events):
        wait(lambda: not spawned.alive(), what="the orphan's end", deadline=Deadline.after(10))
    events.close()
    assert not list(scratch.iterdir())
    assert "spawned" in (tmp_path / "next.jsonl").read_text()


def test_what_cannot_be_stopped_keeps_nothing_else_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose engine is gone: processes and nurseries end, and the state file goes."""
    events = EventLog(tmp_path / "events.jsonl")
    supervisor = Supervisor(tmp_path, events)
    supervisor.__enter__()
    nursery = supervisor.nursery("nursery", ["json"])
    stuck, other = (supervisor.spawn(name, ["sleep", "60"]) for name in ("stuck", "other"))

    def refused(*_: object) -> int | None:
        raise PlatformError("stuck: the engine is gone")

    with monkeypatch.context() as patched:
        patched.setattr(stuck, "stop", refused)
        with pytest.raises(PlatformError, match="the engine is gone"):
            supervisor.close()
    assert [child.poll() is None for child in (stuck, other, nursery.child)] == [True, False, False]
    assert not list(state_home().glob("*.json"))
    stuck.stop()
    events.close()


def test_gc_never_kills_a_process_that_only_has_the_pid_of_a_dead_child() -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        recycled = state.ChildState("envoy", Identity(bystander.pid, start=1))
        dead_owner = replace(Owner.me(), process=Identity(os.getpid(), start=1))
        state.write(state.state_path("run"), state.RunState("run", "folder", dead_owner, children=(recycled,)))
        assert state.gc() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize(
    "elsewhere", [{"namespace": "1"}, {"boot": "b", "machine": "m"}], ids=["a container", "a machine"]
)
def test_gc_touches_no_run_of_another_place_that_shares_this_home(elsewhere: dict[str, str]) -> None:
    """It may live: its state stays, and nothing of it is swept; nor is it one that `rehearse down` could stop."""
    process = Identity.of(os.getpid())
    stranger = replace(Owner.me(), process=replace(process, start=1), **elsewhere)
    path = state.state_path("strange")
    child = state.ChildState("envoy", process)
    state.write(path, state.RunState("strange", "folder", stranger, children=(child,), sweep=("platform",)))
    assert state.gc() == []
    assert path.exists()
    assert state.list_runs() == []


def test_a_restart_of_the_machine_leaves_pids_that_are_others_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is forgotten, and no process is taken for its child."""
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        monkeypatch.setattr(owner, "_machine", lambda: "m")
        before = replace(Owner.me(), boot="b")
        path = state.state_path("before")
        child = state.ChildState("envoy", Identity.of(bystander.pid))
        state.write(path, state.RunState("before", "folder", before, children=(child,)))
        assert state.gc() == []
        assert not path.exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_kill_session_never_touches_a_process_that_only_has_the_pid() -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        Identity(bystander.pid, start=1).kill_session()
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.2)
    finally:
        bystander.kill()
        bystander.wait()


def test_what_a_forked_child_started_ends_with_the_nursery(
    supervisor: Supervisor, nursery: Nursery, tmp_path: Path
) -> None:
    pid_file = tmp_path / "grandchild"
    command = ["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"]
    child = supervisor.fork("worker", "subprocess:run", command, nursery=nursery)
    grandchild = Identity.of(int(_content(pid_file)))
    nursery.child.kill()
    assert child.wait(10) == -signal.SIGKILL
    wait(lambda: not grandchild.alive(), what="the grandchild's end", deadline=Deadline.after(10))


def test_a_death_is_told_to_who_asks_after_it(supervisor: Supervisor, tmp_path: Path) -> None:
    told: list[int] = []
    child = supervisor.spawn("short", ["sh", "-c", "exit 3"])
    log = tmp_path / "events.jsonl"
    wait(lambda: "process.died" in log.read_text(), what="death noticed", deadline=Deadline.after(10))
    supervisor.on_death(child, told.append)
    wait(lambda: told, what="callback", deadline=Deadline.after(10))
    assert told == [3]
    assert log.read_text().count("process.died") == 1


def test_a_child_that_is_started_after_the_end_is_stopped_and_refused(supervisor: Supervisor) -> None:
    supervisor.close()
    with pytest.raises(PlatformError, match="late: the run has ended"):
        supervisor.spawn("late", ["sleep", "60"])
    assert "sleep" not in [process.name() for process in psutil.Process().children()]
    assert not list(state_home().glob("*.json"))


def test_a_state_file_that_cannot_be_read_is_left_where_it_is() -> None:
    """Another version's file says whom it started; only that version may remove it."""
    other = state_home() / "other.1.json"
    other.write_text('{"version": 2, "run": {"id": "other"}}')
    assert state.list_runs() == []
    assert state.gc() == []
    assert other.exists()


def test_a_log_that_cannot_be_written_is_a_platform_error(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.log_path("x").with_suffix(".log").mkdir()
    with pytest.raises(PlatformError, match=r"x: cannot write .*/x\.log: Is a directory"):
        supervisor.spawn("x", ["true"])


def test_a_fork_that_the_kernel_refuses_costs_that_child_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "no_fork_at_first.py").write_text(NO_FORK_AT_FIRST)
    path = os.pathsep.join([base_env()["PYTHONPATH"], str(tmp_path)])
    nursery = supervisor.nursery("nursery", ["no_fork_at_first"], env={"PYTHONPATH": path})
    with pytest.raises(PlatformError, match="first: cannot fork: Resource temporarily unavailable"):
        supervisor.fork("first", "time:sleep", 60, nursery=nursery)
    assert supervisor.fork("second", "json:dumps", 1, nursery=nursery, task=True).wait(10) == 0


def test_files_of_the_current_folder_hide_no_module_of_ours(tmp_path: Path, scratch: Path) -> None:
    """A project may have a folder harness/ and a random.py; nursery and warden work there all the same."""
    (tmp_path / "harness").mkdir()
    for name in ("harness/__init__.py", "random.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    children = _killed_parent(tmp_path, scratch, cwd=tmp_path)
    wait(lambda: not any(child.alive() for child in children), what="the children's end", deadline=Deadline.after(10))


def test_a_module_of_the_current_folder_is_found_by_a_fork(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of a user's model are unpickled by their module's name."""
    (tmp_path / "of_the_user.py").write_text("def work():\n    print('worked')\n")
    monkeypatch.chdir(tmp_path)
    nursery = supervisor.nursery("nursery", ["json"])
    child = supervisor.fork("worker", "of_the_user:work", nursery=nursery, task=True)
    assert child.wait(10) == 0
    assert child.tail() == "worked"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_check_of_the_users_module_ends_with_its_command(tmp_path: Path, scratch: Path, signum: int) -> None:
    """The module hangs while it is imported; nobody waits for it any more."""
    pid_file = tmp_path / "pid"
    hang = f"import os, pathlib, time\npathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\ntime.sleep(60)\n"
    (tmp_path / "hangs.py").write_text(hang)
    (tmp_path / "rows.csv").write_text("x,y\n" + "1,0\n2,1\n" * 50)
    argv = [sys.executable, "-P", "-m", "harness.cli", "run", "--data", "rows.csv", "--target", "y"]
    env = {**base_env(), "TMPDIR": str(scratch)}
    command = subprocess.Popen([*argv, "--train", "hangs:fit"], cwd=tmp_path, env=env)
    hanging = Identity.of(int(_content(pid_file)))
    command.send_signal(signum)
    assert command.wait(10) != 0
    wait(lambda: not hanging.alive(), what="the check's end", deadline=Deadline.after(10))


def _killed_parent(folder: Path, scratch: Path, *args: str, cwd: Path | None = None) -> list[Identity]:
    """Runs a parent that starts a spawned child, a forked one and a nursery, and kills itself by -9."""
    env = {**base_env(), "REHEARSAL_STATE": str(folder / "state"), "TMPDIR": str(scratch)}
    parent = subprocess.Popen([sys.executable, "-P", "-c", PARENT, str(folder), *args], env=env, cwd=cwd)
    children = [Identity.of(int(pid)) for pid in _content(folder / "pids").split()]
    assert parent.wait(10) == -signal.SIGKILL
    return children


def _content(path: Path) -> str:
    """The text of a file, once somebody has written it."""
    return wait(
        lambda: path.read_text().strip() if path.exists() else None, what=path.name, deadline=Deadline.after(30)
    )
