"""The platform as containers: what each may do, what is seen of it, and that nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from harness import Platform
from harness.backends.backend import Part
from harness.backends.containers import sweep
from harness.backends.containers.backend import ContainersBackend
from harness.backends.containers.session import ContainerSession
from harness.containers.labels import OWNER, RUN
from harness.images.engine import docker as call
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.supervisor import base_env
from harness.runtime.wait import wait

MAKER = """
import os, signal, sys
from pathlib import Path
from harness.backends.backend import Part
from harness.backends.containers.backend import ContainersBackend
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
folder, how = Path(sys.argv[1]), sys.argv[2]
backend = ContainersBackend(folder, EventLog(folder / "events.jsonl"))
(folder / "run").write_text(backend.ground.name + " " + backend.ground.labels["rehearsal.dev/maker"])
if how == "without a warden":
    backend.supervisor._warden.kill()
    backend.supervisor._warden.wait()
if how == "interrupted":
    (folder / "began").touch()
try:
    backend.start([Part.TRACKING, Part.SERVING], Deadline.after(120))
    if how != "interrupted":
        os.kill(os.getpid(), signal.SIGKILL)
finally:
    backend.close()
"""


@pytest.fixture
def engine_client(docker_engine: object) -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def left(label: str) -> list[str]:
    """What Docker has with a label."""
    found = call("ps", "--all", "--quiet", "--filter", f"label={label}").split()
    for kind in ("network", "volume"):
        found += call(kind, "ls", "--quiet", "--filter", f"label={label}").split()
    return found


def made_by(folder: Path, how: str) -> tuple[subprocess.Popen[bytes], str, str]:
    """A process that starts a platform: itself, the label of its run, the label of what it makes."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(folder), how], env=base_env(), stdout=output, stderr=output
        )
    told = folder / "run"
    wait(lambda: told.exists() and told.read_text(), what="the run's name", deadline=Deadline.after(60))
    name, maker = told.read_text().split()
    return process, f"{RUN}={name}", f"{OWNER}={maker}"


def test_a_platform_killed_by_9_leaves_nothing_in_docker(docker_engine: object, tmp_path: Path) -> None:
    """Its warden removes containers, networks and volumes."""
    process, _, maker = made_by(tmp_path, "killed")
    assert process.wait(120) == -signal.SIGKILL, (tmp_path / "output").read_text()
    wait(lambda: not left(maker), what="the removal", deadline=Deadline.after(60), every_s=0.5)


def test_what_even_the_warden_left_is_collected_and_what_lives_is_not(docker_engine: object, tmp_path: Path) -> None:
    """`rehearse gc` knows by the label that the maker is dead."""
    (tmp_path / "dead").mkdir()
    events = EventLog(tmp_path / "events.jsonl")
    mine = ContainersBackend(tmp_path, events)
    try:
        mine.start([Part.SERVING], Deadline.after(60))
        process, _, maker = made_by(tmp_path / "dead", "without a warden")
        assert process.wait(120) == -signal.SIGKILL, (tmp_path / "dead" / "output").read_text()
        kinds = {line.split()[0] for line in sweep.gc()}
        assert left(maker) == []
        assert kinds >= {"container", "network", "volume"}
        assert left(f"{RUN}={mine.ground.name}"), "what a living process made was collected"
    finally:
        mine.close()
        events.close()
    assert left(f"{RUN}={mine.ground.name}") == []


def test_an_interruption_while_everything_starts_leaves_nothing(docker_engine: object, tmp_path: Path) -> None:
    """Ctrl-C: also what the engine was making at that moment is removed, before the process ends."""
    process, _, maker = made_by(tmp_path, "interrupted")
    wait(lambda: left(maker), what="the first container", deadline=Deadline.after(60))
    process.send_signal(signal.SIGINT)
    assert process.wait(120) != 0
    assert "KeyboardInterrupt" in (tmp_path / "output").read_text()
    assert left(maker) == []


def test_each_container_is_fenced_in(
    containers_world: ContainerSession, platform: Platform, high_utiliser: Dataset, engine_client: docker.DockerClient
) -> None:
    """Limits, no root, no new privileges, no port beyond the loopback, and the run's own network."""
    platform.start(Part.METRICS)
    platform.deploy(platform.train(high_utiliser, max_depth=2, runner="local"))
    backend = platform.backend
    assert isinstance(backend, ContainersBackend)
    ids = [child.id for child in backend.supervisor.children() if hasattr(child, "id")]
    found = [engine_client.containers.get(each).attrs for each in ids]
    assert len(found) == 5, "envoy, mlflow, prometheus, alertmanager, one replica"
    for each in found:
        assert _fence(each) == {"memory": True, "cpus": True, "read-only": True, "privileges": True, "root": False}
        assert {port["HostIp"] for ports in each["HostConfig"]["PortBindings"].values() for port in ports} == {
            "127.0.0.1"
        }
        assert backend.ground.network.name in each["NetworkSettings"]["Networks"]
    assert {log.stem for log in (platform.run.folder / "logs").glob("*.log")} >= {
        "envoy",
        "mlflow",
        "prometheus",
        "alertmanager",
    }


def _fence(container: dict[str, Any]) -> dict[str, bool]:
    host = container["HostConfig"]
    return {
        "memory": host["Memory"] > 0 and host["MemorySwap"] == host["Memory"],
        "cpus": host["NanoCpus"] > 0,
        "read-only": host["ReadonlyRootfs"],
        "privileges": "no-new-privileges" in host["SecurityOpt"] and host["CapDrop"] == ["ALL"],
        "root": container["Config"]["User"].partition(":")[0] in ("", "0", "root"),
    }


def test_a_database_that_is_killed_has_its_data_when_it_is_back(
    containers_world: ContainerSession, platform: Platform, high_utiliser: Dataset
) -> None:
    """It lies in a volume; MLflow connects anew."""
    model = platform.train(high_utiliser, max_depth=2, runner="local")
    database = containers_world.registry.database.running
    before = database.child
    before.kill()
    wait(lambda: database.child is not before, what="another PostgreSQL", deadline=Deadline.after(30))
    second = platform.train(high_utiliser, max_depth=3, runner="local")
    assert (model.version, second.version) == (1, 2)


def test_two_platforms_of_a_session_reach_nothing_of_each_other(
    containers_world: ContainerSession, platform: Platform, tmp_path: Path
) -> None:
    """Each has a network of its own: the other's MLflow has no name there, and no address that answers."""
    platform.start(Part.TRACKING, Part.SERVING)
    mine = platform.backend
    events = EventLog(tmp_path / "events.jsonl")
    other = containers_world.backend(tmp_path / "other", events)
    try:
        other.start([Part.TRACKING], Deadline.after(120))
        assert isinstance(mine, ContainersBackend)
        assert mine.ground.network.name != other.ground.network.name
        assert mine.tracking_uri != other.tracking_uri
        assert len(other.ground.network._unwrap_network.attrs["Containers"]) <= 1
    finally:
        other.close()
        events.close()
