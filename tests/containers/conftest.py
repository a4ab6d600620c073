"""What the tests on Docker share: without an engine they are skipped, with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from testcontainers.core.network import Network

from harness.backends.containers.session import ContainerSession
from harness.backends.session import Session
from harness.images import engine
from tests.containers import user_models


@pytest.fixture(scope="session")
def docker_engine() -> engine.Engine:
    """The engine of this machine."""
    return engine.probe()


@pytest.fixture(scope="session")
def docker_client(docker_engine: engine.Engine) -> Iterator[docker.DockerClient]:
    """To look at what is there."""
    with closing(docker.from_env()) as client:
        yield client


@pytest.fixture
def network(docker_engine: engine.Engine) -> Iterator[Network]:
    """A private network for one test."""
    with Network() as made:
        yield made
    made._docker.client.close()  # which it leaves open


@pytest.fixture(scope="session")
def saved_model(docker_engine: engine.Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in a folder, and the answers that it gives to some rows in expected.json."""
    folder = tmp_path_factory.mktemp("models") / "half"
    in_a_process("save", str(folder))
    return folder


def in_a_process(what: str, *arguments: str) -> str:
    """What a function of user_models answers, called where MLflow may do to its process what it likes."""
    code = "import json, sys; from tests.containers import user_models as m"
    call = f"{code}; print(json.dumps(getattr(m, sys.argv[1])(*sys.argv[2:])))"
    env = {**os.environ, "PYTHONPATH": str(Path(user_models.__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    argv = [sys.executable, "-c", call, what, *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: str = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture
def containers_world(rehearsal_session: Session) -> ContainerSession:
    """The session, if its platforms are containers."""
    if not isinstance(rehearsal_session, ContainerSession):
        pytest.skip("needs --backend containers")
    return rehearsal_session
