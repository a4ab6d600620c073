"""One serving world for each module of tests: a nursery, a real Envoy, the controller, saved models."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.backends.document import parse
from harness.backends.embedded.autoscale import Autoscaler
from harness.backends.embedded.controller import Controller
from harness.backends.embedded.node import Node
from harness.backends.embedded.replicas import ReplicaStarter, replicas_folder
from harness.backends.embedded.starter import Processes, Running, Starter
from harness.backends.inference_service import InferenceService
from harness.backends.node import NodeOptions
from harness.backends.scaling import GPU
from harness.clients.http import client
from harness.components import mlflow, model_server
from harness.components.activator import ActivatorServer
from harness.components.gateway import gateway
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog
from harness.runtime.nursery import Nursery
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

ROW = [0.5, -0.25, 1.0]


class Restartable(ActivatorServer):
    """An activator that can end as by a signal, and comes back empty and elsewhere."""

    def start_again(self) -> None:
        wanted, moved = self.wanted, self.moved
        self.close()
        ActivatorServer.__init__(self)
        self.wanted, self.moved = wanted, moved
        self.moved()


@dataclass(repr=False)
class World:
    """The running parts, and the shortest ways to use them."""

    folder: Path
    supervisor: Supervisor
    nursery: Nursery
    starter: Starter
    gateway: Running
    controller: Controller
    http: httpx.Client
    models: dict[str, Path]
    node: Node
    autoscaler: Autoscaler
    activator: Restartable
    events: list[Event] = field(default_factory=list)

    def service(self, name: str, model: str, *, namespace: str = "production", **predictor: Any) -> InferenceService:
        """A document for a saved model; `predictor` holds further fields of spec.predictor."""
        served = {"modelFormat": {"name": "mlflow"}, "storageUri": str(self.models[model])}
        return parse(
            {
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"predictor": {"name": "v1", "model": served, **predictor}},
            }
        )

    def deploy(self, document: InferenceService) -> InferenceService:
        """Apply and wait until ready."""
        self.controller.apply(document)
        self.controller.wait_ready(document.namespace, document.name, Deadline.after(60))
        return document

    def post(self, document: InferenceService, body: Any, path: str = "", **headers: str) -> httpx.Response:
        """One inference request through the gateway; V1 unless a path is given."""
        path = path or f"/v1/models/{document.name}:predict"
        return self.http.post(path, json=body, headers={"host": document.host, **headers})

    def expected(self, model: str) -> tuple[list[list[float]], list[float]]:
        """Rows, and what the offline model says of them."""
        told = json.loads((self.models[model] / "expected.json").read_text())
        return told["rows"], told["answers"]

    def retired(self, name: str) -> list[str]:
        """What was told of the replicas that a service gave up."""
        return [e.message for e in self.events if e.kind == "replica.retired" and e.subject == f"production/{name}"]

    def pids(self, document: InferenceService) -> dict[str, int]:
        """Revision -> process of a service with one replica each."""
        status = self.controller.status(document.namespace, document.name)
        return {replica.revision: replica.pid for replica in status.replicas}


@contextmanager
def traffic(world: World, document: InferenceService) -> Iterator[list[str]]:
    """One client that asks without a pause; gives the answers' codes and revisions, "200 v1".

    An answer that is cut off, as by a replica that is killed while it writes, is its error's name.
    """
    seen: list[str] = []
    done = threading.Event()

    def ask() -> None:
        with client(world.gateway.url(), timeout_s=20) as http:
            while not done.is_set():
                try:
                    answer = http.post(
                        f"/v1/models/{document.name}:predict",
                        json={"instances": [ROW]},
                        headers={"host": document.host},
                    )
                except httpx.TransportError as error:
                    seen.append(type(error).__name__)
                    continue
                seen.append(f"{answer.status_code} {answer.headers.get('x-served-by', '-')}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait(lambda: len(seen) >= 20, what="traffic flows", deadline=Deadline.after(20))
        yield seen
        enough = len(seen) + 20
        wait(lambda: len(seen) >= enough, what="traffic goes on", deadline=Deadline.after(20))
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything that serving needs, without MLflow's server: models come from folders."""
    folder = tmp_path_factory.mktemp("world")
    log = EventLog(folder / "events.jsonl")
    events: list[Event] = []
    log.listen(events.append)
    with Supervisor(folder, log) as supervisor:
        nursery = supervisor.nursery("nursery", (*model_server.PRELOAD, *mlflow.PRELOAD))
        models = _save_models(supervisor, nursery, folder / "models")
        starter = Starter(supervisor, log, folder / "components", Processes(supervisor, lambda: nursery))
        running = starter.start(gateway(access_log=folder / "access.jsonl"), Deadline.after(20))
        replicas = ReplicaStarter(supervisor, lambda: nursery, "", running.url(), replicas_folder(folder))
        node, activator = Node({"cpu": 64, GPU: 1}), Restartable()
        controller = Controller(supervisor, replicas, running, log, folder, node=node, activator=activator)
        quick = NodeOptions(sync_s=0.5, window_s=1, down_s=1.5)
        scaler = Autoscaler(controller, controller.gateway_client, activator, quick, log)
        with client(running.url(), timeout_s=20) as http:
            yield World(
                folder, supervisor, nursery, starter, running, controller, http, models, node, scaler, activator, events
            )  # fmt: skip
        scaler.close()
        activator.close()
        controller.close()
    log.close()


def _save_models(supervisor: Supervisor, nursery: Nursery, folder: Path) -> dict[str, Path]:
    target = "tests.embedded.saved_models:save"
    child = supervisor.fork("save-models", target, str(folder), nursery=nursery, task=True)
    assert child.wait(120) == 0, child.tail()
    return {path.name: path for path in folder.iterdir()}
