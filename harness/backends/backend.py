"""What a world must give: the parts of a platform, a place to run heavy work, and the serving port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.report.record import AlertRecord, ClusterFinding, ComponentRecord, RevisionCounts
from harness.runtime.clock import Deadline

if TYPE_CHECKING:
    from harness.backends.alerts import Inbox
    from harness.backends.embedded.warmth import Warmth
    from harness.backends.inference_service import InferenceService
    from harness.backends.kubernetes.alone import LeftToKServe
    from harness.backends.restriction import Restriction
    from harness.backends.status import ReplicaStatus, Status
    from harness.lifecycle.answers import Answers
    from harness.lifecycle.autoscaler import AutoscalerSpec, Look, MetricsModel
    from harness.load.crew import Crew
    from harness.load.records import LoadFiles
    from harness.load.spec import LoadSpec
    from harness.runtime.supervisor import Supervisor


class Part(StrEnum):
    """A part of the platform; a scenario starts only the parts that it uses."""

    TRACKING = "tracking"
    SERVING = "serving"
    METRICS = "metrics"
    DRIFT = "drift"
    TRAINER = "trainer"
    AUTOSCALING = "autoscaling"
    PREDICTIONS = "prediction log"


class Capability(StrEnum):
    """What a scenario may need of a backend; a missing one is a skip with a reason, never a silent pass."""

    TRACKING = "tracking and registry"
    PIPELINE = "pipeline"
    SERVING = "serving"
    TRANSFORMER = "transformer"
    PAYLOAD_LOGGER = "payload logger"
    PREDICTION_LOG = "prediction log"
    NAMESPACES = "namespaces"
    METRICS = "metrics"
    ALERTS = "alerts"
    DRIFT = "drift"
    AUTOSCALING = "autoscaling"
    SCALE_BY_REQUESTS = "autoscaling by requests"
    SCALE_TO_ZERO = "scale to zero"
    CANARY_SCALING = "canary autoscaling"
    RESOURCES = "resource requests"
    LIMITS = "CPU and memory limits"
    DEVICES = "devices by declaration"
    DISTRIBUTED_LOAD = "distributed load"
    KSERVE = "KServe's own controller"
    COPIES = "mirrored copies"
    PIPELINE_IN_CLUSTER = "pipeline in the cluster"
    PIPELINE_IN_CONTAINERS = "pipeline in containers"
    TRAINER = "Kubeflow Trainer"
    ACCESS = "roles at MLflow and the gateway"
    FEATURES = "feature store"
    QUIET = "a machine quiet enough for a verdict on latency"


CAPABILITY_OF = {
    Part.TRACKING: Capability.TRACKING,
    Part.SERVING: Capability.SERVING,
    Part.METRICS: Capability.METRICS,
    Part.DRIFT: Capability.DRIFT,
    Part.TRAINER: Capability.TRAINER,
    Part.AUTOSCALING: Capability.AUTOSCALING,
    Part.PREDICTIONS: Capability.PREDICTION_LOG,
}
"""What a part must be had for."""

Progress = Callable[[dict[str, Any]], None]


class AnswerSource(Protocol):
    """Takes the CloudEvents of responses at `url` (see InferenceService.with_logger) and keeps totals of them."""

    url: str

    def answers(self) -> Answers:
        """The totals so far."""
        ...

    def close(self) -> None:
        """Take no more events; the totals stay."""
        ...


@dataclass(frozen=True)
class LogPlace:
    """Where a prediction log is: `logger_url` as replicas reach it, `url` as this machine does, and its files here."""

    logger_url: str
    url: str
    folder: Path


@dataclass(frozen=True)
class MonitorPlace:
    """Where a drift monitor is: the `url` of its exporter, and the `folder` of its verdicts."""

    url: str
    folder: Path


class ScaleSource(Protocol):
    """What a world sees of a service that its autoscaler scales, from now until `close`."""

    def looks(self) -> list[Look]:
        """What was seen so far; `at_s` are Unix times."""
        ...

    def blocked(self) -> list[str]:
        """What kept a replica from starting so far."""
        ...

    def ready(self) -> int:
        """Ready replicas now."""
        ...

    def request_cores(self) -> float:
        """What one replica requests."""
        ...

    def spec(self) -> AutoscalerSpec:
        """The autoscaler's own words."""
        ...

    def metrics(self) -> MetricsModel:
        """How old the figures are that it sees."""
        ...

    def close(self) -> None: ...


class Faults(Protocol):
    """What can be made to fail in a world; only what this run started is ever signalled, UsageError for other pids."""

    def replicas(self, namespace: str, name: str, revision: str) -> list[ReplicaStatus]:
        """The revision's processes that are there now."""
        ...

    def gateway(self) -> int:
        """The gateway's pid; UsageError if it does not run, as for the next two."""
        ...

    def mlflow(self) -> int: ...

    def prometheus(self) -> int: ...

    def kill(self, pid: int) -> None:
        """End one process by -9."""
        ...

    def stop(self, pid: int) -> None:
        """Let one process stand still."""
        ...

    def cont(self, pid: int) -> None:
        """Let a process that stands still go on."""
        ...

    def inject(self, namespace: str, name: str, revision: str, fault: Mapping[str, Any]) -> None:
        """Have every replica of a revision commit a fault until `clear`; see docs/serving.md for its fields."""
        ...

    def clear(self, namespace: str, name: str, revision: str) -> None:
        """End the fault of a revision's replicas."""
        ...

    def disrupt(self, fault: str, namespace: str, name: str, revision: str) -> Callable[[], None] | None:
        """Commit a fault that only a cluster or containers can have (harness.chaos.faults), around a service.

        What it returns ends the fault. CapabilityMissing where nothing can be hurt so.
        """
        ...

    def reject_gateway_config(self) -> None:
        """Put routes before the gateway that it refuses; the next change of routes mends it."""
        ...


class Backend(Protocol):
    """One world. Everything it starts belongs to its supervisor and ends with `close`."""

    name: str
    folder: Path
    supervisor: Supervisor
    warmth: Warmth

    def missing(self) -> dict[Capability, str]:
        """The capabilities that this backend lacks here, each with its reason and how to get it."""
        ...

    def start(self, parts: Iterable[Part], deadline: Deadline) -> None:
        """Start these parts, in parallel, if they do not run yet; raises CapabilityMissing if one cannot be had."""
        ...

    @property
    def leaves_machine(self) -> str:
        """Where load would go to beyond this machine, without leave; "" if it may."""
        ...

    @property
    def tracking_uri(self) -> str:
        """The MLflow server's URL; starts it when first asked for."""
        ...

    @property
    def gateway_url(self) -> str:
        """The URL that inference requests go to, with the service's host name in the Host header."""
        ...

    @property
    def access_log(self) -> Path:
        """The gateway's access log, one JSON object a request."""
        ...

    def feature_server(self, repository: Path, python: Path) -> str:
        """The URL of Feast's server over an applied repository, by a Python that has Feast; started when first asked.

        CapabilityMissing where there is none.
        """
        ...

    def restrict(self, restriction: Restriction) -> None:
        """Let in only who has the restriction's credentials; before MLflow or the gateway was asked for.

        UsageError if one of them runs already; CapabilityMissing where this world cannot.
        """
        ...

    @property
    def restriction(self) -> Restriction | None:
        """What it is restricted by, if it is."""
        ...

    def work(
        self, target: str, spec: str, *, name: str, deadline: Deadline, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Run `target` ("module:function") as function(spec, result_path) in a process of its own; returns its JSON.

        Lines that the function appends to `<result_path>.progress` are passed on while it runs.
        """
        ...

    def step_python(self) -> str | None:
        """An executable that runs a pipeline step's `python -m …`, or None for the plain interpreter."""
        ...

    def namespace(self, logical: str) -> str:
        """The namespace that this world has for what a scenario calls, say, "production"; its own is itself."""
        ...

    def pipeline_cluster(self, runner: str, deadline: Deadline) -> dict[str, Any]:
        """Where a training pipeline's Pods run, as harness.backends.kubernetes.pipeline_job.Cluster takes it.

        Its containers, for the runner "docker": as harness.containers.pipeline.Place.

        What `runner` (harness.backends.pipeline_runner.Runner) needs is installed. CapabilityMissing without a cluster.
        """
        ...

    def apply(self, document: InferenceService) -> None:
        """Make the service as the document says; returns once the gateway routes accordingly."""
        ...

    def documents(self) -> list[InferenceService]:
        """What was applied last, of every service of this run."""
        ...

    def status(self, namespace: str, name: str) -> Status:
        """The service's status as KServe writes it."""
        ...

    def wait_ready(self, namespace: str, name: str, deadline: Deadline) -> None:
        """Wait until the service's last document is ready; raises ServiceFailed with the condition's message."""
        ...

    def delete(self, namespace: str, name: str, deadline: Deadline) -> None:
        """Drain and remove the service."""
        ...

    def counts(self, namespace: str, name: str, slower_than_ms: float) -> list[RevisionCounts]:
        """Cumulative requests, failures and slow requests of each revision, from the gateway's own counters."""
        ...

    def processors(self, namespace: str, name: str) -> Mapping[str, Mapping[int, float]]:
        """Seconds of a core used so far by each process of what answers: "gateway" or a revision -> process -> s.

        Empty where nobody can say at once.
        """
        ...

    def own_requests(self, host: str) -> int:
        """How many requests to a host the world itself has sent through the gateway, which are in nobody's log."""
        ...

    def collect_answers(
        self, namespace: str, name: str, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()
    ) -> AnswerSource:
        """Somewhere for the payload loggers of two revisions to send their responses to; close it after the rollout.

        Predictions are counted at these `cuts`, by default at the deciles of the baseline's first ones.
        """
        ...

    def prediction_log(self) -> LogPlace:
        """The collector of the run's prediction log, started when first asked for; CapabilityMissing without one."""
        ...

    def drift_monitor(self, config: Mapping[str, Any]) -> MonitorPlace:
        """Have windows of the prediction log judged as `config` says (harness.prediction_log.monitor, without "out").

        Once it runs it takes the new config. CapabilityMissing where there is no log.
        """
        ...

    def load_crew(self, spec: LoadSpec, files: LoadFiles) -> Crew:
        """Pods that send a load of `spec.workers` shares; CapabilityMissing where there are none."""
        ...

    def watch_scaling(self, namespace: str, name: str, revision: str) -> ScaleSource:
        """Watch a revision scale; CapabilityMissing where nothing scales, UsageError for one that does not."""
        ...

    def devices(self, resource: str, count: int, deadline: Deadline) -> AbstractContextManager[None]:
        """While the block lasts, the node has so many devices for replicas; CapabilityMissing where none may be said.

        No replica gets a real one: they are counted, so that a manifest which asks for some can be rehearsed.
        """
        ...

    def query(self, promql: str) -> dict[str, float]:
        """An instant PromQL query: label set -> value."""
        ...

    def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> dict[str, list[tuple[float, float]]]:
        """A PromQL range query: label set -> [(Unix seconds, value)]."""
        ...

    def measured(self) -> bool:
        """Whether this run has started its Prometheus, so that a query starts nothing."""
        ...

    def left_to_kserve(self, document: InferenceService) -> LeftToKServe:
        """The service without our router: KServe's controller and gateway alone.

        CapabilityMissing without KServe; UsageError where requests to it would leave this machine without leave.
        """
        ...

    @property
    def alerts(self) -> Inbox:
        """The alerts that were raised so far; what raises them is started when first asked for."""
        ...

    def raised(self) -> list[AlertRecord]:
        """The alerts that were raised so far; starts nothing."""
        ...

    @property
    def faults(self) -> Faults:
        """The hands of chaos."""
        ...

    def components(self) -> list[ComponentRecord]:
        """What was started, how long each took until ready, and where its log is."""
        ...

    def diagnose(self) -> list[ClusterFinding]:
        """Collect what an on-call engineer would ask for into <run folder>/diagnostics, and say what is abnormal.

        For a run that failed, before its parts are taken down; nothing where there is no cluster.
        """
        ...

    def cause_first(self, error: Exception) -> Exception:
        """The error with what brought it about in front, such as a process that died; else the error itself."""
        ...

    def close(self) -> None:
        """Stop everything that this backend started."""
        ...
