"""The containers world: the platform's parts are containers on a network of their own, its jobs run on this machine."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from harness import images
from harness.backends.alert_poll import AlertPoll
from harness.backends.backend import Capability
from harness.backends.collector import NAME, CollectedAnswers
from harness.backends.containers.activator import ContainerActivator
from harness.backends.containers.child import ContainerChild
from harness.backends.containers.faults import ContainerFaults
from harness.backends.containers.ground import Ground
from harness.backends.containers.launcher import Containers, Mounted
from harness.backends.containers.registry import Registry, Server
from harness.backends.containers.replicas import ContainerReplicas
from harness.backends.containers.stores import FOR_ITSELF, Keeping
from harness.backends.embedded.planner import Address
from harness.backends.embedded.replicas import replicas_folder
from harness.backends.embedded.starter import Running, Starter
from harness.backends.embedded.targets import exporters_file, targets_file
from harness.backends.embedded.warmth import Warmth
from harness.backends.local_backend import IN_A_CLUSTER, START_S, LocalBackend
from harness.backends.node import NodeOptions
from harness.backends.pipeline_runner import Runner
from harness.clients.http import client, request
from harness.components import (
    activator_control,
    alertmanager,
    collector,
    drift_exporter,
    gateway,
    prediction_log,
    prometheus,
)
from harness.components.component import Component
from harness.containers import pipeline
from harness.containers.labels import OWNER
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog

SWEEP = "harness.backends.containers.sweep"
MODELS_MIB = 256
"""Room for the model versions that a run's replicas have fetched; in memory, and gone with the last of them."""


class ContainersBackend(LocalBackend):
    """Containers of one run: MLflow on PostgreSQL, Envoy, replicas, Prometheus, Alertmanager, the collector."""

    name = "containers"

    def __init__(
        self,
        folder: Path,
        events: EventLog,
        *,
        warmth: Warmth | None = None,
        registry: Registry | None = None,
        node: NodeOptions | None = None,
        keeping: Keeping = FOR_ITSELF,
    ) -> None:
        self.ground = Ground()
        super().__init__(folder, events, warmth=warmth, sweep=(SWEEP, self.ground.labels[OWNER]), node=node)
        self._registry = registry or Registry(folder, self.supervisor, events, spare=False, keeping=keeping)
        self._own_registry = registry is None
        self._server: Server | None = None
        self._collector_lock = threading.Lock()
        self._alert_poll: AlertPoll | None = None

    def pipeline_cluster(self, runner: str, deadline: Deadline) -> dict[str, Any]:
        if runner != Runner.DOCKER:
            return super().pipeline_cluster(runner, deadline)
        images.require([pipeline.IMAGE])
        self._start_tracking(deadline)
        mlflow_url = inside(self._running["mlflow"].component)
        return pipeline.Place(self.ground.network.name, mlflow_url, self.ground.labels).to_dict()

    def missing(self) -> dict[Capability, str]:
        return {
            **IN_A_CLUSTER,
            Capability.ACCESS: "MLflow's container and the gateway's ask nobody who he is; embedded does",
            Capability.FEATURES: "FeastContainer serves features alone; the embedded world has the transformer",
        }

    @property
    def access_log(self) -> Path:
        return self._folder("envoy") / "access.jsonl"

    @property
    def faults(self) -> ContainerFaults:
        return ContainerFaults(self._containers(), self.events, self.folder, self._running, self.status)

    def close(self) -> None:
        """Stop everything, also what is being started, and remove what the run made in Docker."""
        with ExitStack() as ending:  # each goes on after an error of the one before
            if self._alert_poll is not None:
                ending.callback(self._alert_poll.close)
            if self._own_registry:
                ending.callback(self._registry.close)
            if self._server is not None:
                ending.callback(self._registry.give_back, self._server)
            ending.callback(self.ground.close)
            if self._own_registry:
                self._registry.stop()
            super().close()

    def _start_component(self, component: Component, deadline: Deadline) -> Running:
        starter = Starter(self.supervisor, self.events, self._components, self._containers())
        server = self._server
        if server is None or component is not server.component:
            return starter.start(component, deadline)
        child = self._containers().take(component, server.container)
        return starter.hold(Running(component, server.folder, server.ports, child, server.ready_s))

    def _replicas(self, tracking: Running, gateway: Running) -> ContainerReplicas:
        return ContainerReplicas(
            self._containers(),
            inside(tracking.component),
            inside(gateway.component),
            replicas_folder(self.folder),
            self._models,
        )

    def _tracking(self, deadline: Deadline) -> Component:
        self._server = self._registry.claim(deadline)
        return self._server.component

    def _gateway(self) -> Component:
        return gateway.gateway(access_log=self.access_log, image=gateway.IMAGE)

    def _metrics(self, gateway: Running) -> Component:
        replicas_folder(self.folder).mkdir(parents=True, exist_ok=True)  # else Docker would make it, as root's
        admin = f"{gateway.component.name}:{gateway.component.inside['admin']}"
        alerts = alertmanager.alertmanager(image=alertmanager.IMAGE)
        if alerts.name not in self._running:
            self._bring_up(alerts, Deadline.after(START_S))
            self._alert_poll = AlertPoll(self._running[alerts.name].url(), self._inbox)
        return prometheus.prometheus(
            admin,
            replicas=targets_file(self.folder),
            exporters=exporters_file(self.folder),
            alertmanager=f"{alerts.name}:{alerts.inside['http']}",
            image=prometheus.IMAGE,
        )

    def _predictions(self) -> Component:
        return prediction_log.prediction_log(image=prediction_log.IMAGE)

    def _drift_exporter(self, config: Mapping[str, Any]) -> Component:
        return drift_exporter.drift_exporter(config, image=prediction_log.IMAGE)

    def _reached_by_replicas(self, running: Running) -> str:
        return f"{inside(running.component)}/"

    def _answers(self, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float]) -> CollectedAnswers:
        with self._collector_lock:
            if NAME not in self._running:
                self._bring_up(collector.collector(), Deadline.after(START_S))
        url = self._running[NAME].url()

        def get(path: str) -> str:
            with client(url) as http:
                return request(http, "GET", path).text

        return CollectedAnswers(NAME, get, baseline=baseline, canary=canary, tolerance=tolerance, cuts=cuts)

    def _new_activator(self) -> ContainerActivator:
        return ContainerActivator(self._start_activator, self._held_at)

    def _start_activator(self) -> Running:
        recipe = activator_control.activator()
        self._bring_up(recipe, Deadline.after(START_S))
        return self._running[recipe.name]

    def _held_at(self, activator: Running) -> Address:
        address = cast(ContainerChild, activator.child).address(self.ground.network.name)
        if not address:
            raise PlatformError("activator: it is not in the run's network")
        return address, activator_control.HELD_PORT

    @property
    def _components(self) -> Path:
        return self.folder / "components"

    def _folder(self, component: str) -> Path:
        return self._components / component

    def _containers(self) -> Containers:
        replicas = str(replicas_folder(self.folder))
        judged = [str(self._folder(prediction_log.NAME)), str(self.folder / "drift")]
        mounts = {
            "prometheus": (Mounted(replicas, replicas),),
            drift_exporter.NAME: tuple(Mounted(folder, folder) for folder in judged),
        }
        joins = {self._server.component.name: self._registry.ground.network} if self._server else {}
        return Containers(self.supervisor, self.ground, mounts, joins)

    def _models(self) -> str:
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={MODELS_MIB}m,mode=1777"}
        return self.ground.volume("models", options)


def inside(component: Component) -> str:
    """What the other containers of a run know a component as."""
    return f"http://{component.name}:{component.inside['http']}"
