"""MLflow and Prometheus as the rehearsal starts them."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest

from harness.backends.document import parse
from harness.backends.embedded.replicas import ReplicaStarter
from harness.backends.embedded.revisions import desired
from harness.backends.embedded.starter import Processes, Starter
from harness.clients.http import client
from harness.clients.promql import PromQL
from harness.components.mlflow import mlflow
from harness.components.prometheus import prometheus
from harness.errors import ProcessExited
from harness.programs import PROMETHEUS, missing
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import World

ROW = [0.5, -0.25, 1.0]
NUMBERS = itertools.count(1)


@pytest.mark.parametrize("warm", [True, False], ids=["forked", "command line"])
def test_mlflow_keeps_runs_and_proxies_artifacts(world: World, warm: bool) -> None:
    """Whichever way it is started: experiments in the store, artifacts through the server, on the loopback."""
    launcher = Processes(world.supervisor, (lambda: world.nursery) if warm else None)
    starter = Starter(world.supervisor, world.starter.events, world.folder / str(warm), launcher)
    running = starter.start(mlflow(), Deadline.after(60))
    with client(running.url(), timeout_s=20) as http:
        made = http.post("/api/2.0/mlflow/experiments/create", json={"name": "release"}).json()
        found = http.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "release"}).json()
        path = "/api/2.0/mlflow-artifacts/artifacts/1/a/model.txt"
        assert http.put(path, content=b"weights").status_code == 200
        assert http.get(path).content == b"weights"
    assert found["experiment"]["experiment_id"] == made["experiment_id"]
    assert found["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
    assert running.child.poll() is None
    assert world.supervisor.stop(running.child) == 0


def test_two_runs_that_make_the_template_store_at_once_both_get_a_whole_one(world: World, tmp_path: Path) -> None:
    """The second replaces the first's by an equal one; neither sees half of it."""
    env = {"REHEARSAL_CACHE": str(tmp_path / "cache")}
    copies = [tmp_path / "one" / "mlflow.db", tmp_path / "two" / "mlflow.db"]
    children = [
        world.supervisor.fork(
            f"copy-{copy.parent.name}",
            "tests.embedded.saved_models:copy_template",
            str(copy),
            nursery=world.nursery,
            env=env,
            task=True,
        )
        for copy in copies
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    for copy in copies:
        connection = sqlite3.connect(copy)
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)
        connection.close()
    assert [path.name for path in (tmp_path / "cache").glob("mlflow-*/*")] == ["template.db"]


@pytest.mark.skipif(bool(missing(PROMETHEUS)), reason=missing(PROMETHEUS) or "here")
def test_prometheus_counts_what_the_gateway_counts(world: World) -> None:
    """Requests and failures (here: 400) by namespace, service and revision; a transformer is no revision."""
    document = world.deploy(world.service("measured", "shallow"))
    running = world.starter.start(prometheus(world.gateway.ports["admin"]), Deadline.after(20))
    for _ in range(30):
        world.post(document, {"instances": [ROW]})
    for _ in range(4):
        world.post(document, {"instances": [ROW[:2]]})
    labels = '{namespace="production", revision="v1", service="measured"}'
    with PromQL(running.url()) as promql:
        counted = wait(
            lambda: promql.query('rehearsal:requests:total{service="measured"} >= 34'),
            what="34 requests in Prometheus",
            deadline=Deadline.after(20),
        )
        assert counted == {labels: 34.0}
        assert promql.query('rehearsal:failed:total{service="measured"}') == {labels: 4.0}
    world.supervisor.stop(running.child)


def test_a_replica_fetches_its_model_version_through_mlflow(world: World) -> None:
    """models:/<name>/<version>, downloaded from the artifact proxy; what is not registered ends it with one line.

    A version that was fetched is kept: with MLflow away its replicas start all the same, and other versions do not.
    """
    running = Starter(world.supervisor, world.starter.events, world.folder / "registry", world.starter.launcher).start(
        mlflow(), Deadline.after(60)
    )
    register = "tests.embedded.saved_models:register"
    arguments = (running.url(), str(world.models["shallow"]), "risk")
    child = world.supervisor.fork("register", register, *arguments, nursery=world.nursery, task=True)
    assert child.wait(60) == 0, child.tail()
    starter = ReplicaStarter(
        world.supervisor, lambda: world.nursery, running.url(), world.gateway.url(), world.folder / "fetched"
    )
    rows, answers = world.expected("shallow")
    assert _served(world, starter, "models:/risk/1", rows) == answers
    with pytest.raises(ProcessExited, match=r"exit code 3(.|\n)*model models:/risk/9 cannot be loaded: .*not found"):
        _served(world, starter, "models:/risk/9", rows)
    world.supervisor.stop(running.child)
    assert _served(world, starter, "models:/risk/1", rows) == answers
    with pytest.raises(ProcessExited, match=r"exit code 1(.|\n)*models:/risk/2 cannot be loaded: API request"):
        _served(world, starter, "models:/risk/2", rows)


def _served(world: World, starter: ReplicaStarter, uri: str, rows: list[list[float]]) -> list[float]:
    document = world.service("fetched", "shallow").to_dict()
    document["spec"]["predictor"]["model"]["storageUri"] = uri
    wanted = desired(parse(document))
    child = starter.launch(wanted, wanted.predictor, next(NUMBERS), Deadline.after(60))
    host, port = starter.wait_ready(wanted, child, Deadline.after(60))
    with client(f"http://{host}:{port}", timeout_s=20) as http:
        predictions: list[float] = http.post("/v1/models/fetched:predict", json={"instances": rows}).json()[
            "predictions"
        ]
    world.supervisor.stop(child)
    return predictions
