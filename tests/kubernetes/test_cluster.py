"""A kind cluster of the session: nothing is left behind, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.backends.kubernetes import clusters, sweep
from harness.backends.kubernetes.docker import containers_of, networks
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

OPEN = """
import sys
from harness.backends.backend import Part
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.world import WorldOptions
from harness.runtime.clock import Deadline
from harness.runtime.interrupts import sigterm_interrupts
import signal
with sigterm_interrupts():
    world = KindWorld.open(WorldOptions("kind"), lambda name, message: print(name, message, flush=True))
    try:
        if "install" in sys.argv:
            world.ensure(Part.SERVING, Deadline.after(300))
        signal.pause()
    finally:
        world.close()
"""
LOADING = """
import sys
from harness.backends.kubernetes.world import WorldOptions
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.interrupts import sigterm_interrupts
from pathlib import Path
import signal
with sigterm_interrupts(), Platform.up(
    Path(sys.argv[1]), world=WorldOptions("kind"), deadline=Deadline.after(300)
) as platform:
    service = platform.deploy(platform.train(high_utiliser(), max_depth=2))
    with platform.load(service, rps=100):
        print("load flows", flush=True)
        signal.pause()
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own group, as a terminal's foreground job is one."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_TESTRUNUID"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=env, stdout=subprocess.PIPE, text=True, process_group=0
    )


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of the test's own; at the end what is left in it is removed."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    yield
    sweep.gc(kept=True)


def ended(process: subprocess.Popen[str]) -> None:
    """Kill -9, if it has not ended."""
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture
def opening() -> Iterator[subprocess.Popen[str]]:
    """A process that makes a cluster and keeps it."""
    process = started(OPEN)
    yield process
    ended(process)


def name() -> str:
    """The cluster that is being made, once its first container is there."""
    found = wait(clusters.names, what="a state file", deadline=Deadline.after(60))
    wait(lambda: containers_of(found[0]), what="a container", deadline=Deadline.after(60))
    return found[0]


def told(process: subprocess.Popen[str], words: str) -> None:
    """Read what the process says until these words."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}: {seen}")


def interrupted(process: subprocess.Popen[str], signum: int = signal.SIGINT) -> None:
    """Interrupt a process as a terminal does, with all that it started, and see all of them end."""
    started_by_it = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signum)
    process.communicate(timeout=90)
    assert process.returncode != 0
    _, living = psutil.wait_procs(started_by_it, timeout=5)
    assert living == []


def nothing_is_left(cluster: str) -> None:
    """Neither a container nor a network nor a file."""
    assert containers_of(cluster) == []
    assert cluster not in networks("app.kubernetes.io/managed-by=rehearsal")
    assert list(clusters.folder().iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_creation_leaves_nothing(opening: subprocess.Popen[str], signum: int) -> None:
    """Neither a container nor a network nor a file nor a process, as soon as there is a container."""
    cluster = name()
    interrupted(opening, signum)
    nothing_is_left(cluster)


def test_an_interruption_before_there_is_a_container_leaves_nothing(opening: subprocess.Popen[str]) -> None:
    """The network is there first."""
    (cluster,) = wait(
        lambda: set(clusters.names()) & set(networks("app.kubernetes.io/managed-by=rehearsal")),
        what="a network",
        deadline=Deadline.after(60),
        every_s=0.01,
    )
    interrupted(opening)
    nothing_is_left(cluster)


def test_an_interrupted_installation_leaves_nothing() -> None:
    """While parts come up side by side, after the first one has."""
    process = started(OPEN, "install")
    try:
        cluster = name()
        told(process, "ready in")
        interrupted(process)
        nothing_is_left(cluster)
    finally:
        ended(process)


def test_an_interruption_under_load_leaves_nothing(tmp_path: Path) -> None:
    """The load generator, the nursery and its forks end with the run, and its record is there."""
    process = started(LOADING, str(tmp_path / "run"))
    try:
        cluster = name()
        told(process, "load flows")
        interrupted(process)
        nothing_is_left(cluster)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    finally:
        ended(process)


def test_what_a_killed_session_leaves_is_found_by_its_state_file(opening: subprocess.Popen[str]) -> None:
    """`rehearse gc` removes it, and only once its user is dead."""
    cluster = name()
    assert cluster not in sweep_without(opening)
    opening.kill()
    opening.communicate(timeout=60)
    assert cluster in sweep.gc()
    assert containers_of(cluster) == []


def test_what_a_killed_session_leaves_is_found_without_its_state_file(opening: subprocess.Popen[str]) -> None:
    """The labels of its network say whose it was."""
    cluster = name()
    opening.kill()
    opening.communicate(timeout=60)
    clusters.forget(cluster)
    assert cluster in sweep.gc()
    assert containers_of(cluster) == []


def sweep_without(process: subprocess.Popen[str]) -> list[str]:
    """The clusters that would be removed while the process lives; its lock is held, so that its state is asked."""
    assert process.poll() is None
    return [each for each in clusters.names() if (state := clusters.read(each)) and state.abandoned()]
