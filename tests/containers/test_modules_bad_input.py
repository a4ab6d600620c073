"""What goes wrong with a container is one line that says what to do, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from harness.backends.containers import sweep
from harness.components.component import Component, Ready
from harness.containers import (
    AlertmanagerContainer,
    EnvoyContainer,
    FeastContainer,
    ModelServerContainer,
    PrometheusContainer,
)
from harness.containers.labels import OWNER, owned
from harness.errors import CapabilityMissing, PortTaken, ProcessExited, UsageError, WaitTimeout
from harness.images import engine
from harness.images.catalogue import load
from harness.images.docker import present
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

OWN = f"{OWNER}={owned()[OWNER]}"


@pytest.fixture
def nothing_stays(docker_client: docker.DockerClient) -> Iterator[None]:
    """Holds a test to leaving no container of this process."""
    yield
    assert ours(docker_client, OWN) == []


def ours(client: docker.DockerClient, label: str) -> list[str]:
    found = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    return [str(each.name) for each in found]


def test_an_image_that_nobody_has_is_named_with_the_way_to_get_it(docker_engine: engine.Engine) -> None:
    """Its registry does not exist, so it is not waited for."""
    with pytest.raises(CapabilityMissing) as caught:
        EnvoyContainer("example.invalid/none:1").start()
    assert caught.value.message == "The image example.invalid/none:1 is not in Docker."
    assert caught.value.hint.startswith("docker pull example.invalid/none:1")


def test_an_image_of_the_catalogue_names_the_command_that_builds_it(docker_engine: engine.Engine) -> None:
    """Ours are never pulled: a stranger may have that name in a registry."""
    names = [item.name for item in load().items.values() if item.is_image and item.kind == "upstream"]
    missing = [name for name in names if name not in present(names)]
    if not missing:
        pytest.skip("every image of the catalogue is here")
    with pytest.raises(CapabilityMissing) as caught:
        EnvoyContainer(missing[0]).start()
    assert caught.value.hint == f"rehearse images build {missing[0]}"


def test_a_port_that_is_taken_is_named(nothing_stays: None) -> None:
    """The container that could not start is removed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^envoy: .*127\.0\.0\.1:{port}"):
            EnvoyContainer().with_bind_ports(8080, port).start()


def test_a_container_that_ends_before_it_is_ready_shows_its_last_words(nothing_stays: None) -> None:
    """At once, and not after the time that it has to become ready."""
    with pytest.raises(ProcessExited, match=r"(?s)^prometheus ready: .*exit code 1.*unknown long flag"):
        PrometheusContainer().with_command(["--nonsense"]).start()


class NeverReady(PrometheusContainer):
    """Looks for its readiness where nobody answers 200."""

    def recipe(self) -> Component:
        return replace(super().recipe(), ready=Ready(port="http", path="/nowhere"))


def test_a_container_that_does_not_become_ready_is_given_up(nothing_stays: None) -> None:
    """After the time that it was given."""
    with pytest.raises(WaitTimeout, match="prometheus ready: not within the deadline"):
        NeverReady().with_startup_timeout(2).start()


def test_without_an_engine_the_line_says_so(docker_engine: engine.Engine, tmp_path: Path) -> None:
    """Already where the container is made, before anything is written."""
    # In a process of its own: docker's client leaves the socket open that it could not connect.
    code = "from harness.containers import CollectorContainer; CollectorContainer()"
    env = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "CapabilityMissing: The Docker engine is not running. Hint: " in done.stderr.splitlines()[-1]


def test_a_folder_without_a_model_is_refused(docker_engine: engine.Engine, tmp_path: Path) -> None:
    """And so is a model server without any."""
    with pytest.raises(UsageError, match="there is no MLmodel file in it"):
        ModelServerContainer("churn").with_model(tmp_path)
    with pytest.raises(UsageError, match=r"no model.*with_model"):
        ModelServerContainer("churn").start()


def test_a_folder_without_a_feature_store_is_refused(tmp_path: Path) -> None:
    """Before Docker is asked for anything."""
    with pytest.raises(UsageError, match=r"there is no feature_store\.yaml in it"):
        FeastContainer(tmp_path)


def test_a_registered_version_that_is_not_there_ends_with_its_name(nothing_stays: None) -> None:
    """The server's own line, which is the last of its log."""
    server = ModelServerContainer("churn").with_model_version("churn", 7, "http://127.0.0.1:1")
    with pytest.raises(ProcessExited, match="models:/churn/7"):
        server.start()


def test_without_testcontainers_the_import_says_how_to_get_it() -> None:
    """It comes with an extra that not everybody installs."""
    code = "import sys; sys.modules['testcontainers'] = None; import harness.containers"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'rehearsal[containers]'" in done.stderr.splitlines()[-1]


def test_what_a_killed_process_leaves_is_removed_by_gc(docker_client: docker.DockerClient) -> None:
    """By its labels: there may be no reaper that could be pulled."""
    code = (
        "import os, signal; from harness.containers import AlertmanagerContainer;"
        "from harness.containers.labels import *; AlertmanagerContainer().start();"
        "print(owned()[OWNER], flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    label = f"{OWNER}={done.stdout.strip()}"
    with AlertmanagerContainer() as mine:
        assert len(ours(docker_client, label)) == 1
        sweep.gc()
        wait(lambda: not ours(docker_client, label), what="removal", deadline=Deadline.after(20))
        assert mine.get_wrapped_container().status == "running"
        assert mine.get_wrapped_container().name in ours(docker_client, OWN)
