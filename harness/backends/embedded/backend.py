"""The embedded world: the real programs as processes of this machine, started when a scenario first needs them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.backends.backend import Capability
from harness.backends.embedded.replicas import ReplicaStarter, replicas_folder
from harness.backends.embedded.starter import Processes, Running, Starter
from harness.backends.embedded.targets import targets_file
from harness.backends.local_backend import IN_A_CLUSTER, LocalBackend
from harness.backends.pipeline_runner import NOT_IN_CONTAINERS
from harness.components.answers import AnswerCollector
from harness.components.component import Component
from harness.components.gateway import gateway
from harness.components.mlflow import mlflow
from harness.components.prediction_log import prediction_log
from harness.components.prometheus import missing_prometheus, prometheus
from harness.runtime.clock import Deadline


class EmbeddedBackend(LocalBackend):
    """Processes: replicas, the MLflow server and jobs are forks of a nursery."""

    name = "embedded"

    def missing(self) -> dict[Capability, str]:
        reason = missing_prometheus()
        return {
            **({Capability.METRICS: reason} if reason else {}),
            **IN_A_CLUSTER,
            Capability.PIPELINE_IN_CONTAINERS: NOT_IN_CONTAINERS,
        }

    def _start_component(self, component: Component, deadline: Deadline) -> Running:
        processes = Processes(self.supervisor, self.warmth.nursery)
        return Starter(self.supervisor, self.events, self.folder / "components", processes).start(component, deadline)

    def _replicas(self, tracking: Running, gateway: Running) -> ReplicaStarter:
        folder = replicas_folder(self.folder)
        return ReplicaStarter(self.supervisor, self.warmth.nursery, tracking.url(), gateway.url("http"), folder)

    def _tracking(self, deadline: Deadline) -> Component:
        return mlflow()

    def _gateway(self) -> Component:
        return gateway(access_log=self.access_log)

    def _metrics(self, gateway: Running) -> Component:
        return prometheus(gateway.ports["admin"], replicas=targets_file(self.folder))

    def _predictions(self) -> Component:
        return prediction_log()

    def _reached_by_replicas(self, running: Running) -> str:
        return f"{running.url()}/"

    def _answers(self, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float]) -> AnswerCollector:
        return AnswerCollector(baseline=baseline, canary=canary, tolerance=tolerance, cuts=cuts)
