"""A kind cluster of the session: nothing is left behind, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.kubernetes import clusters, sweep
from harness.backends.kubernetes.docker import containers_of, networks
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

OPEN = """
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.world import WorldOptions
from harness.runtime.interrupts import sigterm_interrupts
import signal
with sigterm_interrupts():
    world = KindWorld.open(WorldOptions("kind"), lambda name, message: print(message, flush=True))
    try:
        signal.pause()
    finally:
        world.close()
"""


@pytest.fixture
def opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A process that makes a cluster and keeps it, with a state folder of its own."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path))
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_TESTRUNUID"}
    process = subprocess.Popen([sys.executable, "-c", OPEN], env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)
        sweep.gc()


def name() -> str:
    """The cluster that is being made, once its first container is there."""
    found = wait(clusters.names, what="a state file", deadline=Deadline.after(60))
    wait(lambda: containers_of(found[0]), what="a container", deadline=Deadline.after(60))
    return found[0]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_creation_leaves_nothing(opening: subprocess.Popen[str], signum: int) -> None:
    """Neither a container nor a network nor a file."""
    cluster = name()
    opening.send_signal(signum)
    opening.communicate(timeout=90)
    assert opening.returncode != 0
    assert containers_of(cluster) == []
    assert cluster not in networks("app.kubernetes.io/managed-by=rehearsal")
    assert list(clusters.folder().iterdir()) == []


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
