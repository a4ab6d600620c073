"""The backend on a cluster, kind's or any: KServe serves, Envoy Gateway routes, jobs run on this machine."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import __version__
from harness.backends import collector, scaling
from harness.backends.alert_poll import AlertPoll
from harness.backends.alerts import Inbox
from harness.backends.assignment import mirror_percent_of
from harness.backends.backend import (
    AnswerSource,
    Capability,
    Faults,
    LogPlace,
    MonitorPlace,
    Part,
    Progress,
    ScaleSource,
)
from harness.backends.embedded.warmth import Warmth
from harness.backends.inference_service import DOMAIN, InferenceService
from harness.backends.kubernetes.access_log import AccessLogStream, Fields
from harness.backends.kubernetes.alone import LeftToKServe
from harness.backends.kubernetes.counters import GIVEN, LogCounts, received
from harness.backends.kubernetes.envoy_pods import EnvoyPods
from harness.backends.kubernetes.faults import KubernetesFaults
from harness.backends.kubernetes.lives import Lives
from harness.backends.kubernetes.metrics import wait_scraped
from harness.backends.kubernetes.pipeline_job import PIPELINES, Cluster
from harness.backends.kubernetes.registry import moved
from harness.backends.kubernetes.router import Router
from harness.backends.kubernetes.runspace import label_of
from harness.backends.kubernetes.world import MLFLOW_PORT, MLFLOW_SERVICE, RunSpace, World, run_labels
from harness.backends.local_work import LocalWork
from harness.backends.pipeline_runner import NOT_IN_CONTAINERS
from harness.backends.restriction import Restriction
from harness.backends.status import Status
from harness.clients.http import client
from harness.clients.promql import PromQL
from harness.components.collector import PORT
from harness.components.gateway import SHADOW
from harness.errors import CapabilityMissing, DocumentError, RehearsalError, RequestFailed
from harness.load.crew import Crew
from harness.load.pods import Place, Pods
from harness.load.records import LoadFiles
from harness.load.remote import refuse_leaving
from harness.load.spec import LoadSpec
from harness.report.record import AlertRecord, ClusterFinding, ComponentRecord, RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait

START_S = 300.0
SCRAPED_S = 5.0
LOG_S = 30.0
LOAD_NAMESPACE = "load"
"""The logical namespace of the Pods that send large loads."""
SHARED_NAMESPACES = ("kserve", "kube-system")
NO_COPIES = (
    "Envoy Gateway gives a mirrored copy the host of its request, so that copies can be neither told apart in the "
    "access log nor counted; the embedded world can"
)
NO_PREDICTION_LOG = (
    "its collector keeps files, and the cluster has no volume for them; the embedded world and containers do"
)
IN_THE_EMBEDDED_WORLD = {
    Capability.PREDICTION_LOG: NO_PREDICTION_LOG,
    Capability.SCALE_BY_REQUESTS: "an HPA knows cpu and memory; KServe has the others in Knative mode; embedded can",
    Capability.SCALE_TO_ZERO: "an HPA's least is one; the embedded world can",
    Capability.FEATURES: "its transformer is not in the image rehearsal/model-server; the embedded world runs it",
    Capability.ACCESS: "a cluster has roles and network policies of its own: docs/access.md; embedded has MLflow's",
    Capability.CANARY_SCALING: "KServe refuses a size to scale to in a canary; the embedded world scales it",
}
NO_TRANSFORMER = "a transformer's class is not in the image rehearsal/model-server; the embedded world runs it"


class KubernetesBackend:
    """One run in a world: its own space (namespaces, registry) and router; the world is shared by the session."""

    def __init__(self, folder: Path, events: EventLog, world: World, *, warmth: Warmth | None = None) -> None:
        self.name = world.name
        self.folder = folder
        self.events = events
        self.world = world
        self.run_id = secrets.token_hex(4)
        self._local = LocalWork(folder, events, warmth)
        self.supervisor, self.warmth = self._local.supervisor, self._local.warmth
        self._envoy = EnvoyPods(world.kube, world.system)
        self._counts = LogCounts()
        self._lock = threading.RLock()
        self._space: RunSpace | None = None
        self._router: Router | None = None
        self._log: AccessLogStream | None = None
        self._prometheus: PromQL | None = None
        self._metered = False
        self._answers: list[AnswerSource] = []
        self._inbox = Inbox(events)
        self._alert_poll: AlertPoll | None = None
        self._began = time.time()
        self._lives = Lives(world.kube, events, self._gateway_answers)
        self._faults: KubernetesFaults | None = None

    def missing(self) -> dict[Capability, str]:
        lacks = {Capability.TRANSFORMER: NO_TRANSFORMER, Capability.COPIES: NO_COPIES, **IN_THE_EMBEDDED_WORLD}
        return {**lacks, Capability.PIPELINE_IN_CONTAINERS: NOT_IN_CONTAINERS, **self.world.missing()}

    def start(self, parts: Iterable[Part], deadline: Deadline) -> None:
        chosen = list(dict.fromkeys(parts))
        pool = ThreadPoolExecutor(max(1, len(chosen)))
        try:
            for done in [pool.submit(self._start, part, deadline) for part in chosen]:
                done.result()
        finally:
            pool.shutdown(wait=False)

    @property
    def space(self) -> RunSpace:
        """This run's space in the cluster; opened when first asked for."""
        with self._lock:
            if self._space is None:
                deadline = Deadline.after(START_S)
                self.world.ensure(Part.TRACKING, deadline)
                self._space = self.world.open_run(self.run_id, deadline)
            return self._space

    @property
    def leaves_machine(self) -> str:
        return self.world.leaves_machine

    @property
    def tracking_uri(self) -> str:
        return self.space.tracking_uri

    @property
    def gateway_url(self) -> str:
        self._start(Part.SERVING, Deadline.after(START_S))
        return self.space.gateway_url

    @property
    def access_log(self) -> Path:
        return self.supervisor.log_path("access").with_suffix(".jsonl")

    def feature_server(self, repository: Path, python: Path) -> str:
        raise CapabilityMissing(Capability.FEATURES.value, hint=IN_THE_EMBEDDED_WORLD[Capability.FEATURES])

    @property
    def restriction(self) -> None:
        return None

    def restrict(self, restriction: Restriction) -> None:
        raise CapabilityMissing(Capability.ACCESS.value, hint=IN_THE_EMBEDDED_WORLD[Capability.ACCESS])

    def work(
        self, target: str, spec: str, *, name: str, deadline: Deadline, progress: Progress | None = None
    ) -> dict[str, Any]:
        return self._local.run(target, spec, name=name, deadline=deadline, progress=progress)

    def step_python(self) -> str | None:
        return self._local.step_python()

    def pipeline_cluster(self, runner: str, deadline: Deadline) -> dict[str, Any]:
        if runner == "trainer":
            self._start(Part.TRAINER, deadline)
        space, kube = self.space, self.world.kube
        cluster = Cluster(
            namespace=space.namespace(PIPELINES),
            run_id=space.run_id,
            store=space.tracking_uri,
            store_in_pods=f"http://{MLFLOW_SERVICE}:{MLFLOW_PORT}",
            context=kube.context,
            kubeconfig=str(kube.kubeconfig) if kube.kubeconfig else None,
            image_prefix=self.world.image_prefix,
        )
        return cluster.to_dict()

    def namespace(self, logical: str) -> str:
        space = self.space
        return logical if logical in space.namespaces().values() else space.namespace(logical)

    def apply(self, document: InferenceService) -> None:
        _refuse(document)
        scaling.require(document, self.missing())
        if Capability.AUTOSCALING in scaling.needs(document):
            self._start(Part.AUTOSCALING, Deadline.after(START_S))
        router = self._serving()
        self._lives.follow(document.namespace)
        router.apply(document)

    def documents(self) -> list[InferenceService]:
        return self._serving().documents()

    def status(self, namespace: str, name: str) -> Status:
        return self._serving().status(namespace, name)

    def wait_ready(self, namespace: str, name: str, deadline: Deadline) -> None:
        self._serving().wait_ready(namespace, name, deadline)

    def delete(self, namespace: str, name: str, deadline: Deadline) -> None:
        self._serving().delete(namespace, name, deadline)

    def counts(self, namespace: str, name: str, slower_than_ms: float) -> list[RevisionCounts]:
        self._read_given()
        return self._counts.counts(namespace, name, f"{name}-{namespace}.{DOMAIN}", slower_than_ms)

    def own_requests(self, host: str) -> int:
        return self._counts.own(host)

    def collect_answers(
        self, namespace: str, name: str, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()
    ) -> AnswerSource:
        kube, system = self.world.kube, self.world.system
        source = collector.CollectedAnswers(
            f"{collector.NAME}.{system}",
            lambda path: kube.service_get(collector.NAME, system, PORT, path),
            baseline=baseline,
            canary=canary,
            tolerance=tolerance,
            cuts=cuts,
        )
        self._answers.append(source)
        return source

    def prediction_log(self) -> LogPlace:
        raise CapabilityMissing(Capability.PREDICTION_LOG.value, hint=NO_PREDICTION_LOG)

    def drift_monitor(self, config: Mapping[str, Any]) -> MonitorPlace:
        raise CapabilityMissing(Capability.PREDICTION_LOG.value, hint=NO_PREDICTION_LOG)

    def load_crew(self, spec: LoadSpec, files: LoadFiles) -> Crew:
        return Pods(spec, files, self._load_place())

    def processors(self, namespace: str, name: str) -> dict[str, dict[int, float]]:
        """Metrics of a cluster are of the last quarter of a minute: too late for a load's seconds."""
        return {}

    def watch_scaling(self, namespace: str, name: str, revision: str) -> ScaleSource:
        from harness.backends.kubernetes.scale_watch import ScaleWatch

        return ScaleWatch(self.world.kube, namespace, name, revision)

    @contextmanager
    def devices(self, resource: str, count: int, deadline: Deadline) -> Iterator[None]:
        from harness.backends.kubernetes.devices import advertised

        if why := self.missing().get(Capability.DEVICES):
            raise CapabilityMissing(Capability.DEVICES.value, hint=why)
        with advertised(self.world.kube, count, deadline=deadline, resource=resource):
            yield

    def query(self, promql: str) -> dict[str, float]:
        return self._promql().query(promql)

    def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> dict[str, list[tuple[float, float]]]:
        return self._promql().query_range(promql, start_s, end_s, step_s)

    def measured(self) -> bool:
        return self._metered

    def left_to_kserve(self, document: InferenceService) -> LeftToKServe:
        refuse_leaving(self.leaves_machine)
        self._start(Part.SERVING, Deadline.after(START_S))
        return LeftToKServe(self.world.kube, document, run_labels(self.run_id), self.world.kserve_gateway_url)

    @property
    def alerts(self) -> Inbox:
        self._start(Part.METRICS, Deadline.after(START_S))
        return self._inbox

    def raised(self) -> list[AlertRecord]:
        return self._inbox.records()

    @property
    def faults(self) -> Faults:
        with self._lock:
            if self._faults is None:
                kube, system = self.world.kube, self.world.system
                self._faults = KubernetesFaults(kube, self.events, run_id=self.run_id, system=system, envoy=self._envoy)
            return self._faults

    def components(self) -> list[ComponentRecord]:
        return self.world.components()

    def diagnose(self) -> list[ClusterFinding]:
        from harness.backends.kubernetes.diagnostics.collect import collect

        mine = sorted(self._space.namespaces().values()) if self._space else []
        shared = (self.world.system, self._envoy.namespace, *SHARED_NAMESPACES)
        folder = self.folder / "diagnostics"
        found = collect(self.world.kube, folder, namespaces=mine, shared=shared, since=self._began)
        return found.findings

    def cause_first(self, error: Exception) -> Exception:
        return self._local.cause_first(error)

    def close(self) -> None:
        try:
            for source in self._answers:
                source.close()
            for part in (self._alert_poll, self._lives, self._router, self._log, self._prometheus):
                if part is not None:
                    part.close()
            if self._space is not None:
                self._space.close()
        finally:
            self._local.supervisor.close()

    def _start(self, part: Part, deadline: Deadline) -> None:
        if part is Part.DRIFT:
            self.warmth.start_drift()
            return
        if part is Part.PREDICTIONS:
            self.prediction_log()
        if part is Part.SERVING:
            self.warmth.nursery()
        self.world.ensure(part, deadline)
        self._metered |= part is Part.METRICS
        if part is Part.METRICS and Capability.ALERTS not in self.missing():
            self._follow_alerts()
        if part is Part.SERVING:
            self._follow_log(deadline)

    def _follow_alerts(self) -> None:
        """Take the alerts of this run's namespaces from now on."""
        space = self.space

        def mine(labels: Mapping[str, str]) -> bool:
            return labels.get("namespace", "") in space.namespaces().values()

        with self._lock:
            if self._alert_poll is None:
                self._alert_poll = AlertPoll(space.alertmanager_url, self._inbox, mine)

    def _follow_log(self, deadline: Deadline) -> None:
        with self._lock:
            if self._log is not None:
                return
            self._log = AccessLogStream(
                self.world.kube,
                self._envoy.namespace,
                self._envoy.selector,
                self.access_log,
                self._is_mine,
                self._counts.take,
            )
            self._log.start()
            self._lives.follow_gateway(self._envoy.namespace, self._envoy.selector)
        if not self._log.connected.wait(deadline.at_most(LOG_S).remaining_s()):
            raise RequestFailed("the gateway's access log cannot be followed", hint="its Pods: see kubectl get pods -A")

    def _read_given(self) -> None:
        self._counts.read(self._envoy.pages(GIVEN))

    def _before_removal(self) -> None:
        """Have the last counts of a route that nobody uses any more: Envoy's own here, and in Prometheus."""
        pages = self._envoy.pages(GIVEN)
        self._counts.read(pages)
        if self._metered:
            mine = tuple(f"httproute/{namespace}/" for namespace in self.space.namespaces().values())
            with contextlib.suppress(RehearsalError):  # a Prometheus that is away must not hold up a rollout
                wait_scraped(self._promql().query, received(pages, mine), Deadline.after(SCRAPED_S))

    def _gateway_answers(self) -> bool:
        """Whether the gateway answers this machine, with whatever status; raises httpx.TransportError if not."""
        with client(self.space.gateway_url, timeout_s=1.0) as http:
            return http.get("/").status_code > 0

    def _is_mine(self, fields: Fields) -> bool:
        """Whether a line is of this run's services; the gateway is shared."""
        host = str(fields.get("host") or "").partition(":")[0].removesuffix(SHADOW)
        mine = self._space.namespaces().values() if self._space else ()
        return any(host.endswith(f"-{namespace}.{DOMAIN}") for namespace in mine)

    def _load_place(self) -> Place:
        """Where a load's Pods go: a namespace of this run, with this run's gateway as their one target."""
        found = self._envoy.service()
        if found is None:
            raise RequestFailed("the gateway has no Service that Pods could send to", hint="kubectl get svc -A")
        namespace, service, port = found
        url = f"http://{service}.{namespace}.svc:{port}"
        labels = run_labels(label_of(self.run_id))
        image = moved(f"rehearsal/load:{__version__}", self.world.image_prefix)
        return Place(self.world.kube, self.space.namespace(LOAD_NAMESPACE), labels, image, url, own={url})

    def _serving(self) -> Router:
        self._start(Part.SERVING, Deadline.after(START_S))
        with self._lock:
            if self._router is None:
                self._router = Router(
                    self.world.kube,
                    self.space,
                    self.events,
                    logger_url=collector.logger_url,
                    before_removal=self._before_removal,
                )
            return self._router

    def _promql(self) -> PromQL:
        deadline = Deadline.after(START_S)
        self.world.ensure(Part.METRICS, deadline)
        with self._lock:
            if self._prometheus is None:
                prometheus = PromQL(self.space.prometheus_url)
                # Its Pod is ready a moment before the node's rules lead to it: until then the port resets.
                wait(prometheus.answers, what="Prometheus's port", deadline=deadline, every_s=0.1)
                self._prometheus = prometheus
            return self._prometheus


def _refuse(document: InferenceService) -> None:
    """Refuse what only a machine with the files can honour, and names that a route's name could not hold apart."""
    for name in (
        document.name,
        document.spec.predictor.name,
        *(entry.predictor.name for entry in document.spec.canary),
    ):
        if "--" in name:
            raise DocumentError(f"InferenceService {document.name!r}: expected no '--' in a name here, got {name!r}")
    if document.spec.transformer is not None:
        raise CapabilityMissing(Capability.TRANSFORMER.value, hint=NO_TRANSFORMER)
    if mirror_percent_of(document.metadata.annotations):
        raise CapabilityMissing(Capability.COPIES.value, hint=NO_COPIES)
    models = [document.spec.predictor.model, *(entry.predictor.model for entry in document.spec.canary)]
    for model in models:
        if not model.storage_uri.startswith("models:/"):
            raise DocumentError(
                f"InferenceService {document.name!r}: storageUri: expected models:/<name>/<version> in a cluster, "
                f"got {model.storage_uri!r}"
            )
