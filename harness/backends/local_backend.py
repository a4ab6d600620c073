"""A platform on this machine, without a cluster: its parts are started when a scenario first needs them.

A world says what its parts are made of and how they are started (processes, containers); all that is decided is here
and in the controller.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from harness.backends import scaling
from harness.backends.alerts import Inbox
from harness.backends.backend import AnswerSource, Capability, LogPlace, MonitorPlace, Part, Progress, ScaleSource
from harness.backends.embedded.activator import Activator
from harness.backends.embedded.autoscale import Autoscaler
from harness.backends.embedded.controller import Controller
from harness.backends.embedded.faults import EmbeddedFaults
from harness.backends.embedded.node import Node
from harness.backends.embedded.replicas import Replicas
from harness.backends.embedded.scale_watch import ScaleWatch
from harness.backends.embedded.starter import Running
from harness.backends.embedded.targets import Targets, exporters_file
from harness.backends.embedded.warmth import Warmth
from harness.backends.inference_service import InferenceService
from harness.backends.local_work import LocalWork
from harness.backends.node import NodeOptions
from harness.backends.pipeline_runner import NEEDS, Runner
from harness.backends.restriction import Restriction
from harness.backends.status import Status
from harness.clients.promql import PromQL
from harness.components import drift_exporter, feast, prediction_log
from harness.components.activator import ActivatorServer
from harness.components.component import Component
from harness.components.files import replace_text
from harness.errors import CapabilityMissing, DocumentError, UsageError
from harness.load.crew import Crew
from harness.load.records import LoadFiles
from harness.load.spec import LoadSpec
from harness.report.record import AlertRecord, ClusterFinding, ComponentRecord, RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.usage import usage_of

if TYPE_CHECKING:
    from harness.backends.kubernetes.alone import LeftToKServe

START_S = 60.0
IN_A_CLUSTER = {
    Capability.LIMITS: "a replica is neither throttled nor ended for its memory here: drop them, or --backend kind",
    Capability.PIPELINE_IN_CLUSTER: "there is no cluster: the pipeline runs by kfp.local here; --backend kind has one",
    Capability.TRAINER: "there is no cluster for a TrainJob; --backend kind has one, with Kubeflow Trainer",
    Capability.KSERVE: "a controller of ours stands in for KServe's here; --backend kind runs KServe itself",
    Capability.DISTRIBUTED_LOAD: "there are no Pods: load(processes=N) uses this machine's cores; or --backend kind",
}
"""What takes a cluster, each with the reason and how to get it."""


class LocalBackend(ABC):
    """Starts each part once, on demand or ahead of time; `warmth` may be shared by the platforms of one session."""

    name: str
    leaves_machine = ""

    def __init__(
        self,
        folder: Path,
        events: EventLog,
        *,
        warmth: Warmth | None = None,
        sweep: Sequence[str] = (),
        node: NodeOptions | None = None,
    ) -> None:
        self.folder = folder
        self.events = events
        self._local = LocalWork(folder, events, warmth, lambda: self._broken(), sweep)
        self.supervisor, self.warmth = self._local.supervisor, self._local.warmth
        self._running: dict[str, Running] = {}
        self._node_options = node or NodeOptions()
        self._node = Node(self._node_options.capacity())
        self._activator = self._new_activator()
        self._controller: Controller | None = None
        self._autoscaler: Autoscaler | None = None
        self._prometheus: PromQL | None = None
        self._locks = {part: threading.Lock() for part in Part}
        self._collectors: list[AnswerSource] = []
        self._inbox = Inbox(events)
        self._scraped: dict[str, str] = {}
        self._scraping = threading.Lock()
        self._exporters = Targets(exporters_file(folder))
        self._restriction: Restriction | None = None

    @abstractmethod
    def missing(self) -> dict[Capability, str]: ...

    @abstractmethod
    def _start_component(self, component: Component, deadline: Deadline) -> Running:
        """Give a recipe life."""

    @abstractmethod
    def _replicas(self, tracking: Running, gateway: Running) -> Replicas:
        """How the controller's replicas are started."""

    @abstractmethod
    def _tracking(self, deadline: Deadline) -> Component:
        """The recipe of the tracking server "mlflow"; what it needs runs when this returns."""

    @abstractmethod
    def _gateway(self) -> Component:
        """The recipe of the gateway "envoy"."""

    @abstractmethod
    def _metrics(self, gateway: Running) -> Component:
        """The recipe of "prometheus", which scrapes the gateway, the replicas and the exporters.

        What it tells of its alerts runs when this returns, if it can be had.
        """

    @abstractmethod
    def _predictions(self) -> Component:
        """The recipe of the prediction log's collector."""

    def _drift_exporter(self, config: Mapping[str, Any]) -> Component:
        return drift_exporter.drift_exporter(config)

    @abstractmethod
    def _reached_by_replicas(self, running: Running) -> str:
        """The URL of a component's port "http" as replicas, and Prometheus, know it."""

    @abstractmethod
    def _answers(self, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float]) -> AnswerSource:
        """As `collect_answers`; what it gives is closed with the backend."""

    def _new_activator(self) -> Activator:
        """What holds the requests of services without a replica; it listens once there may be one."""
        return ActivatorServer()

    def start(self, parts: Iterable[Part], deadline: Deadline) -> None:
        starters: dict[Part, Callable[[Deadline], None]] = {
            Part.TRACKING: self._start_tracking,
            Part.SERVING: self._start_serving,
            Part.METRICS: self._start_metrics,
            Part.DRIFT: self._start_drift,
            Part.TRAINER: lambda _: _refuse(Capability.TRAINER),
            Part.PREDICTIONS: self._start_predictions,
            Part.AUTOSCALING: self._start_serving,  # its thread starts with the first service that scales
        }
        chosen = list(dict.fromkeys(parts))
        pool = ThreadPoolExecutor(len(chosen))
        try:
            for done in [pool.submit(starters[part], deadline) for part in chosen]:
                done.result()
        finally:
            pool.shutdown(wait=False)  # after a Ctrl-C or a failure the others end as soon as the supervisor closes

    @property
    def restriction(self) -> Restriction | None:
        return self._restriction

    def feature_server(self, repository: Path, python: Path) -> str:
        if why := self.missing().get(Capability.FEATURES):
            raise CapabilityMissing(Capability.FEATURES.value, hint=why)
        with self._locks[Part.PREDICTIONS]:
            if feast.NAME not in self._running:
                self._bring_up(feast.feature_server(python, repository), Deadline.after(START_S))
        return self._running[feast.NAME].url()

    def restrict(self, restriction: Restriction) -> None:
        if why := self.missing().get(Capability.ACCESS):
            raise CapabilityMissing(Capability.ACCESS.value, hint=why)
        if running := sorted({"mlflow", "envoy"} & self._running.keys()):
            raise UsageError(
                f"restrict: {', '.join(running)} runs already, and would let everybody in; restrict it first"
            )
        self._restriction = restriction
        self._local.env.update(restriction.client_env)

    @property
    def tracking_uri(self) -> str:
        self._start_tracking(Deadline.after(START_S))
        return self._running["mlflow"].url()

    @property
    def gateway_url(self) -> str:
        self._start_gateway(Deadline.after(START_S))
        return self._running["envoy"].url()

    @property
    def access_log(self) -> Path:
        return self.supervisor.log_path("access").with_suffix(".jsonl")

    def work(
        self, target: str, spec: str, *, name: str, deadline: Deadline, progress: Progress | None = None
    ) -> dict[str, Any]:
        return self._local.run(target, spec, name=name, deadline=deadline, progress=progress)

    def step_python(self) -> str | None:
        return self._local.step_python()

    def namespace(self, logical: str) -> str:
        return logical

    def pipeline_cluster(self, runner: str, deadline: Deadline) -> dict[str, Any]:
        needed = NEEDS[Runner(runner)]
        raise CapabilityMissing(needed.value, hint=self.missing()[needed])

    def apply(self, document: InferenceService) -> None:
        scaling.require(document, self.missing())
        if self._restriction is not None and document.spec.transformer is not None:
            where = f"{document.namespace}/{document.name}"
            raise DocumentError(f"{where}: spec.transformer: has no key for the gateway of a restricted platform")
        serving = self._serving()
        if Capability.AUTOSCALING in scaling.needs(document):
            self._scaling().begin()
        serving.apply(document)

    def documents(self) -> list[InferenceService]:
        return self._serving().documents()

    def status(self, namespace: str, name: str) -> Status:
        return self._serving().status(namespace, name)

    def wait_ready(self, namespace: str, name: str, deadline: Deadline) -> None:
        self._serving().wait_ready(namespace, name, deadline)

    def delete(self, namespace: str, name: str, deadline: Deadline) -> None:
        self._serving().delete(namespace, name, deadline)

    def counts(self, namespace: str, name: str, slower_than_ms: float) -> list[RevisionCounts]:
        return self._serving().counts(namespace, name, slower_than_ms)

    def own_requests(self, host: str) -> int:
        return 0

    def processors(self, namespace: str, name: str) -> dict[str, dict[int, float]]:
        children = [("gateway", self._running["envoy"].child), *self._serving().children(namespace, name)]
        found: dict[str, dict[int, float]] = {}
        for who, child in children:
            if (used := usage_of(child)) is not None:
                found.setdefault(who, {})[child.pid] = used.processor_s
        return found

    def collect_answers(
        self, namespace: str, name: str, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()
    ) -> AnswerSource:
        collector = self._answers(baseline=baseline, canary=canary, tolerance=tolerance, cuts=cuts)
        self._collectors.append(collector)
        return collector

    def prediction_log(self) -> LogPlace:
        self._start_predictions(Deadline.after(START_S))
        running = self._running[prediction_log.NAME]
        return LogPlace(self._reached_by_replicas(running), f"{running.url()}/", running.folder / prediction_log.LOG)

    def drift_monitor(self, config: Mapping[str, Any]) -> MonitorPlace:
        self._start_predictions(Deadline.after(START_S))
        with self._locks[Part.PREDICTIONS]:
            if drift_exporter.NAME not in self._running:
                self._bring_up(self._drift_exporter(config), Deadline.after(START_S))
            running = self._running[drift_exporter.NAME]
            out = running.folder / drift_exporter.OUT
            told = json.dumps({**config, "out": str(out)})
            replace_text(running.folder / drift_exporter.CONFIG, told, beside=running.folder)
            return MonitorPlace(f"{running.url()}/", out)

    def load_crew(self, spec: LoadSpec, files: LoadFiles) -> Crew:
        _refuse(Capability.DISTRIBUTED_LOAD)

    def watch_scaling(self, namespace: str, name: str, revision: str) -> ScaleSource:
        return ScaleWatch(self._scaling(), namespace, name, revision, self._serving().scaled(self._node_options))

    @contextmanager
    def devices(self, resource: str, count: int, deadline: Deadline) -> Iterator[None]:
        with self._node.advertised(resource, count):
            yield

    def query(self, promql: str) -> dict[str, float]:
        return self._promql().query(promql)

    def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> dict[str, list[tuple[float, float]]]:
        return self._promql().query_range(promql, start_s, end_s, step_s)

    def measured(self) -> bool:
        return "prometheus" in self._running

    @property
    def alerts(self) -> Inbox:
        self._start_metrics(Deadline.after(START_S))
        return self._inbox

    def raised(self) -> list[AlertRecord]:
        return self._inbox.records()

    def left_to_kserve(self, document: InferenceService) -> LeftToKServe:
        raise CapabilityMissing(Capability.KSERVE.value, hint=IN_A_CLUSTER[Capability.KSERVE])

    @property
    def faults(self) -> EmbeddedFaults:
        return EmbeddedFaults(self.supervisor, self.events, self.folder, self._running, self.status)

    def components(self) -> list[ComponentRecord]:
        return [
            ComponentRecord(
                name=running.component.name,
                version=running.component.version,
                ready_s=running.ready_s,
                address=running.url(running.component.ports[0]),
                log=f"logs/{running.component.name}.log",
            )
            for running in self._running.values()
        ]

    def diagnose(self) -> list[ClusterFinding]:
        return []

    def cause_first(self, error: Exception) -> Exception:
        return self._local.cause_first(error)

    def _broken(self) -> str:
        """What will not come back, so that nothing needs to be waited for."""
        return next((each.failed for each in self._running.values() if each.failed), "")

    def close(self) -> None:
        try:
            for collector in self._collectors:
                collector.close()
            if self._autoscaler is not None:
                self._autoscaler.close()
            if self._controller is not None:
                self._controller.close()
            self._activator.close()  # after those who call it
            if self._prometheus is not None:
                self._prometheus.close()
        finally:
            self.supervisor.close()

    def _start_tracking(self, deadline: Deadline) -> None:
        with self._locks[Part.TRACKING]:
            if "mlflow" not in self._running:
                self._bring_up(self._tracking(deadline), deadline)

    def _start_gateway(self, deadline: Deadline) -> None:
        with self._locks[Part.SERVING]:
            if "envoy" not in self._running:
                self._bring_up(self._gateway(), deadline)

    def _start_serving(self, deadline: Deadline) -> None:
        self.warmth.nursery()
        self._start_gateway(deadline)

    def _start_drift(self, _deadline: Deadline) -> None:
        self.warmth.start_drift()

    def _start_predictions(self, deadline: Deadline) -> None:
        with self._locks[Part.PREDICTIONS]:
            if prediction_log.NAME not in self._running:
                self._bring_up(self._predictions(), deadline)

    def _start_metrics(self, deadline: Deadline) -> None:
        if reason := self.missing().get(Capability.METRICS):
            raise CapabilityMissing(Capability.METRICS.value, hint=reason)
        self._start_gateway(deadline)
        with self._locks[Part.METRICS]:
            if "prometheus" not in self._running:
                self._bring_up(self._metrics(self._running["envoy"]), deadline)

    def _bring_up(self, component: Component, deadline: Deadline) -> None:
        running = self._start_component(component, deadline)
        self._running[component.name] = running
        self.supervisor.set_address(component.name, running.url(component.ports[0]))
        if component.scraped:
            self._scrape(component.name, urlsplit(self._reached_by_replicas(running)).netloc)

    def _scrape(self, name: str, address: str) -> None:
        """Have Prometheus read /metrics at an address, "host:port", from now on."""
        with self._scraping:  # parts that start at the same time have exporters of their own
            self._scraped[name] = address
            self._exporters.write(
                {"targets": [each], "labels": {"exporter": name}} for name, each in self._scraped.items()
            )

    def _serving(self) -> Controller:
        self._start_gateway(Deadline.after(START_S))
        self._start_tracking(Deadline.after(START_S))
        with self._locks[Part.SERVING]:  # two services applied at once must meet one controller
            if self._controller is None:
                envoy = self._running["envoy"]
                replicas = self._replicas(self._running["mlflow"], envoy)
                self._controller = Controller(
                    self.supervisor,
                    replicas,
                    envoy,
                    self.events,
                    self.folder,
                    node=self._node,
                    activator=self._activator,
                    clients=self._restriction.clients if self._restriction else None,
                )
            return self._controller

    def _scaling(self) -> Autoscaler:
        controller = self._serving()
        with self._locks[Part.AUTOSCALING]:
            if self._autoscaler is None:
                self._autoscaler = Autoscaler(
                    controller, controller.gateway_client, self._activator, self._node_options, self.events
                )
            return self._autoscaler

    def _promql(self) -> PromQL:
        self._start_metrics(Deadline.after(START_S))
        with self._locks[Part.METRICS]:
            if self._prometheus is None:
                self._prometheus = PromQL(self._running["prometheus"].url())
            return self._prometheus


def _refuse(capability: Capability) -> NoReturn:
    """What only a cluster can do."""
    raise CapabilityMissing(capability.value, hint=IN_A_CLUSTER[capability])
