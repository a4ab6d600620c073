"""The containers world without Docker: what is missing in one line, what is collected, late names."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.containers import engine, sweep
from harness.chaos.faults import CONTAINER_FAULTS
from harness.cli import run_command
from harness.components import slow_names
from harness.components.model_server import model_server
from harness.components.replica import Replica
from harness.errors import CapabilityMissing
from harness.images.engine import Engine
from harness.runtime import ports, state
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner

GIB = 1024**3
NOBODY = replace(Owner.me(), process=Identity(2**22 + 1, 1))


def an_engine(version: str = "24.0.7", memory: int = 8 * GIB, disk: int = 50 * GIB) -> Engine:
    return Engine(version, "/var/lib/docker", memory, rootless=False, cgroup="2", free_disk=disk, free_memory=memory)


@pytest.mark.parametrize(
    ("text", "numbers"), [("20.10.24+dfsg1", (20, 10)), ("27.3.1", (27, 3)), ("library-import", ()), ("dev", ())]
)
def test_versions_are_read_as_far_as_they_have_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert engine.version(text) == numbers


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (an_engine("19.03.15"), "Docker 19.03.15 is too old: 20.10 or later is needed."),
        (an_engine(memory=GIB), "Too little memory: 2 GiB free are needed, 1.0 GiB are here."),
        (an_engine(disk=GIB // 2), "Too little disk: 1 GiB free are needed in /var/lib/docker, 0.5 GiB are here."),
    ],
)
def test_an_engine_that_will_not_do_says_what_is_needed(
    found: Engine, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "probe", lambda: found)
    with pytest.raises(CapabilityMissing) as caught:
        engine.require()
    assert caught.value.message == told
    assert caught.value.hint


@pytest.mark.parametrize(
    "command", [["run"], ["up"], ["chaos", "--fault", "replica-killed"]], ids=lambda words: words[0]
)
def test_without_docker_it_is_one_line_and_exit_code_2(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was asked for by name, so it is no skip; nothing was begun."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code = run_command([*command, "--backend", "containers", "--reports", str(tmp_path / "reports")])
    said = capfd.readouterr().err.splitlines()
    assert code == 2
    assert said[-1].startswith("rehearse: --backend containers: Docker is not here: no `docker` on PATH. Hint: ")
    assert "Traceback" not in "\n".join(said)


def test_without_docker_nothing_is_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sweep.gc() == []


def test_no_free_port_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(self: socket.socket, address: tuple[str, int]) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(socket.socket, "bind", taken)
    with pytest.raises(CapabilityMissing, match=r"No port of 127\.0\.0\.1 is free: Address already in use\."):
        ports.reserve()


def test_what_a_dead_run_left_beside_its_processes_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state file says what to run for it; a line for each thing that it ended."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path))
    left = state.RunState("run", str(tmp_path), NOBODY, sweep=("platform",))
    path = state.state_path("swept-test")
    state.write(path, left)
    assert state.read(path) == left
    assert any(os.uname().sysname in line for line in state.gc() if line.startswith("run: "))
    assert not path.exists()


def test_late_names_are_the_right_ones_and_late() -> None:
    """A question is passed on after the wait, and its answer comes back to who asked."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        for each in (resolver, listener):
            each.bind(("127.0.0.1", 0))
        asker.settimeout(10)

        def resolve() -> None:
            question, address = resolver.recvfrom(100)
            resolver.sendto(question[::-1], address)

        told = listener, resolver.getsockname(), 0.2
        threading.Thread(target=slow_names.serve, args=told, daemon=True).start()
        threading.Thread(target=resolve, daemon=True).start()
        began = time.monotonic()
        asker.sendto(b"who", listener.getsockname())
        assert asker.recv(100) == b"ohw"
        assert time.monotonic() - began >= 0.2


def test_a_replica_of_this_world_says_its_limit() -> None:
    """What the kernel kills for its memory is told with the number."""
    recipe = model_server(Replica("churn", "models:/churn/1", "/mnt/models", ""))
    assert recipe.limits.memory_mib == 1024
    assert set(CONTAINER_FAULTS) == {"replica-out-of-memory", "replica-cut-off", "volume-full", "dns-slow"}
