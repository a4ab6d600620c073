"""The embedded world: the real programs as processes of this machine, started when a scenario first needs them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.backends.backend import Capability
from harness.backends.embedded.alerting import Alerting
from harness.backends.embedded.exporter import Exporter
from harness.backends.embedded.replicas import ReplicaStarter, replicas_folder
from harness.backends.embedded.starter import Processes, Running, Starter
from harness.backends.embedded.targets import exporters_file, targets_file
from harness.backends.local_backend import IN_A_CLUSTER, START_S, LocalBackend
from harness.backends.pipeline_runner import NOT_IN_CONTAINERS
from harness.components.alertmanager import alertmanager
from harness.components.answers import AnswerCollector
from harness.components.component import Component
from harness.components.gateway import gateway
from harness.components.mlflow import mlflow, restricted
from harness.components.prediction_log import prediction_log
from harness.components.prometheus import prometheus
from harness.programs import ALERTMANAGER, PROMETHEUS, missing
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog


class EmbeddedBackend(LocalBackend):
    """Processes: replicas, the MLflow server and jobs are forks of a nursery."""

    name = "embedded"

    def __init__(self, folder: Path, events: EventLog, **options: Any) -> None:
        super().__init__(folder, events, **options)
        self._ending = ExitStack()

    def missing(self) -> dict[Capability, str]:
        return dict(self._missing)

    @cached_property
    def _missing(self) -> dict[Capability, str]:
        """Asked once: each program is started to see whether it runs, and every service that is applied asks."""
        metrics = missing(PROMETHEUS)
        alerts = metrics or missing(ALERTMANAGER)
        return {
            **({Capability.METRICS: metrics} if metrics else {}),
            **({Capability.ALERTS: alerts} if alerts else {}),
            **IN_A_CLUSTER,
            Capability.PIPELINE_IN_CONTAINERS: NOT_IN_CONTAINERS,
        }

    def _start_component(self, component: Component, deadline: Deadline) -> Running:
        processes = Processes(self.supervisor, self.warmth.nursery)
        return Starter(self.supervisor, self.events, self.folder / "components", processes).start(component, deadline)

    def _replicas(self, tracking: Running, gateway: Running) -> ReplicaStarter:
        folder = replicas_folder(self.folder)
        login = self._restriction.client_env if self._restriction else {}
        return ReplicaStarter(self.supervisor, self.warmth.nursery, tracking.url(), gateway.url("http"), folder, login)

    def _tracking(self, deadline: Deadline) -> Component:
        if self._restriction is None:
            return mlflow()
        return restricted(self._restriction.server_env, self._restriction.users)

    def _gateway(self) -> Component:
        return gateway(access_log=self.access_log, keys=self._restriction.keys if self._restriction else None)

    def _metrics(self, gateway: Running) -> Component:
        if "rehearsal" not in self._scraped:
            exporter = Exporter(self.events, self._registry_url)
            self._ending.callback(exporter.close)
            self._scrape("rehearsal", exporter.address)
        return prometheus(
            gateway.ports["admin"],
            replicas=targets_file(self.folder),
            exporters=exporters_file(self.folder),
            alertmanager="" if Capability.ALERTS in self._missing else self._start_alertmanager(),
        )

    def _registry_url(self) -> str:
        return self._running["mlflow"].url() if "mlflow" in self._running else ""

    def _start_alertmanager(self) -> str:
        """Its address, "host:port"."""
        if "alertmanager" not in self._running:
            alerting = Alerting(self._inbox)
            self._ending.callback(alerting.close)
            self._bring_up(alertmanager(alerting.webhook()), Deadline.after(START_S))
        return urlsplit(self._running["alertmanager"].url()).netloc

    def _predictions(self) -> Component:
        return prediction_log()

    def close(self) -> None:
        with self._ending:
            super().close()
        if self._restriction is not None and "envoy" in self._running:
            for name in self._running["envoy"].component.private:
                (self._running["envoy"].folder / name).unlink(missing_ok=True)

    def _reached_by_replicas(self, running: Running) -> str:
        return f"{running.url()}/"

    def _answers(self, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float]) -> AnswerCollector:
        return AnswerCollector(baseline=baseline, canary=canary, tolerance=tolerance, cuts=cuts)
