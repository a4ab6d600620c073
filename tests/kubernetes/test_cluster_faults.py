"""Faults of a cluster in the middle of a real canary, under load: what must hold whatever fails.

The faults of whole clusters are felt by everybody who shares it; these tests want one of their own.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from harness.backends.kubernetes.applied import workload_name
from harness.backends.kubernetes.backend import KubernetesBackend
from harness.backends.kubernetes.disruptions import API_SERVER, QUOTA
from harness.backends.kubernetes.lives import GATEWAY
from harness.chaos.chaos import Chaos
from harness.chaos.faults import fault_named, phase_named
from harness.errors import CapabilityMissing, RequestFailed
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.load.ledger import Ledger
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.events import Event
from harness.runtime.wait import wait
from harness.service import Rollout, Service

RPS = 40.0
# Wide enough that a busy machine and the moment of a fault are no verdict on the canary.
SLO_WIDE = SLO(errors=0.2, slower_than_ms=2000, slow=0.4)
POLICY = Canary(SLO_WIDE, steps=(50, 100), max_step_s=60.0, min_step_s=2.0)


@pytest.fixture
def backend(platform: Platform) -> KubernetesBackend:
    """The platform's backend, which must be one of a cluster."""
    if not isinstance(platform.backend, KubernetesBackend):
        raise CapabilityMissing("a cluster", hint="pytest --backend kind")
    return platform.backend


def under(
    platform: Platform, dataset: Dataset, fault: str, phase: str, aim: str = "", replicas: int = 1, **settings: Any
) -> Case:
    """A canary with the fault in one of its phases; everything that became of it."""
    events: list[Event] = []
    platform.run.events.listen(events.append)
    service = platform.deploy(platform.train(dataset, max_depth=2), replicas=replicas)
    better = platform.train(dataset, max_depth=4)
    chaos = Chaos(platform, fault_named(fault).with_settings(**settings), phase_named(phase), aim=aim)
    with platform.load(service, rps=RPS) as traffic:
        rollout = chaos.roll_out(service, better, POLICY)
    return Case(service, rollout, traffic.ledger, chaos.broken(traffic.ledger), events)


@dataclass(frozen=True)
class Case:
    """How a canary under a fault ended, its ledger, the invariants that broke, and all that was told."""

    service: Service
    rollout: Rollout
    ledger: Ledger
    broken: dict[str, str]
    events: list[Event]

    def told(self, kind: str, revision: str = "") -> list[Event]:
        """What was told of a kind after the fault began."""
        began = next(event.at for event in self.events if event.kind == "chaos.began")
        those = [event for event in self.events if event.kind == kind and event.at >= began]
        return [event for event in those if not revision or event.data.get("revision") == revision]

    def serves(self) -> bool:
        """Whether the service is ready and answers."""
        rows = [[0.0] * len(self.service.require_model().features)]
        return is_ready(self.service) and len(self.service.predict(rows)) == 1


def is_ready(service: Service) -> bool:
    """By its own word."""
    return {"Ready": "True"}.items() <= {
        each["type"]: each["status"] for each in service.status()["conditions"]
    }.items()


def test_a_baseline_pod_that_is_killed_does_not_stop_the_canary(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """The requests that its end cut off are named, and nothing else is lost; the other Pod of the baseline serves."""
    case = under(platform, high_utiliser, "replica-killed", "watching", "baseline", replicas=2)

    assert case.broken == {}
    assert len(case.told("replica.died", "v1")) == 1
    assert case.told("service.unserved") == []
    assert case.rollout.outcome is Outcome.PROMOTED
    assert case.serves()


def test_a_gateway_that_is_killed_during_a_canary_comes_back_and_the_canary_comes_to_a_verdict(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """Requests of its outage are named; the ledger explains every one, also those whose log line died with it.

    How long the outage is, the kubelet decides: it waits longer before each start of one that has died before. A long
    one is a fair reason to go back.
    """
    case = under(platform, high_utiliser, "gateway-restarted", "watching")

    assert case.broken == {}
    assert case.ledger.unexplained == 0
    assert GATEWAY in {event.subject for event in case.told("process.died")}
    assert GATEWAY in {event.subject for event in case.told("component.restarted")}
    assert case.rollout.outcome in (Outcome.PROMOTED, Outcome.ROLLED_BACK)
    assert case.serves()


def test_a_canary_whose_image_is_missing_never_gets_traffic_and_is_rolled_back(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """The baseline answers everything; the nodes have the image again after."""
    case = under(platform, high_utiliser, "image-missing", "starting")
    events = backend.world.kube.list("v1/Event", case.service.namespace)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
    assert any(event["reason"] == "Failed" and "rehearsal/model-server" in event["message"] for event in events)
    assert case.ledger.classes == {"answered:v1": case.ledger.sent}
    assert is_ready(platform.deploy(case.service.require_model(), name="after"))


def test_a_canary_that_the_quota_refuses_never_gets_traffic_and_is_rolled_back(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """The baseline answers everything; the namespace takes Pods again after."""
    case = under(platform, high_utiliser, "quota-exhausted", "starting")
    events = backend.world.kube.list("v1/Event", case.service.namespace)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
    assert any(f"exceeded quota: {QUOTA}" in event["message"] for event in events)
    assert case.ledger.classes == {"answered:v1": case.ledger.sent}
    assert is_ready(platform.deploy(case.service.require_model(), name="after"))


def test_a_canary_starts_once_the_webhook_is_back(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """KServe's webhook answers nobody for a while: nothing changes meanwhile, and nothing is lost."""
    refused = Refused(backend)
    platform.run.events.listen(refused)
    case = under(platform, high_utiliser, "webhook-down", "starting", lasts_s=8.0)

    assert case.broken == {}
    assert "failed calling webhook" in refused.word()
    assert case.rollout.outcome is Outcome.PROMOTED
    assert case.ledger.lost == 0


class Refused:
    """What the API server says of an InferenceService while the webhook is down; it is asked from then on."""

    def __init__(self, backend: KubernetesBackend) -> None:
        self._backend = backend
        self._pool = ThreadPoolExecutor(1)
        self._asked: Future[str] | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "fault.webhook":
            self._asked = self._pool.submit(self._ask)

    def word(self) -> str:
        """The refusal; fails if there was none."""
        assert self._asked is not None
        return self._asked.result(timeout=30)

    def _ask(self) -> str:
        kube, namespace = self._backend.world.kube, self._backend.namespace("production")
        metadata = {"name": "asked", "namespace": namespace}
        spec = {"predictor": {"model": {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/a/1"}}}
        document = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata}

        def refusal() -> str:
            try:
                kube.apply({**document, "spec": spec}, dry_run=True)
            except RequestFailed as error:
                return error.message if "failed calling webhook" in error.message else ""
            return ""

        return wait(refusal, what="a refusal", deadline=Deadline.after(8), every_s=0.1)


def test_a_canary_goes_on_after_the_api_server_was_killed(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """Traffic does not go through it: no request is lost; without readings the canary gets no more traffic."""
    before = restarts(backend)
    case = under(platform, high_utiliser, "api-server-restarted", "watching")

    assert case.broken == {}
    assert restarts(backend) > before
    assert case.ledger.lost == 0
    assert case.serves()


def restarts(backend: KubernetesBackend) -> int:
    """How often the API server was started again."""
    pods = backend.world.kube.list("v1/Pod", "kube-system", labels=API_SERVER)
    return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])


def test_a_drained_node_takes_the_service_down_by_name_and_it_is_back_after(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """With one node there is nowhere to go: what is lost is lost while the Pods are away, and the end is clean."""
    case = under(platform, high_utiliser, "node-drained", "watching", lasts_s=5.0)
    deployment = workload_name(case.service.name, case.service.revision)
    nodes = backend.world.kube.list("v1/Node")

    assert case.broken == {}
    assert case.told("replica.died", "v1")
    assert case.told("service.unserved")
    assert case.ledger.lost > 0
    assert not any(node["spec"].get("unschedulable") for node in nodes)
    backend.world.kube.wait_rolled_out("apps/v1/Deployment", deployment, case.service.namespace, Deadline.after(60))
    wait(lambda: case.told("service.served"), what="its traffic has Pods again", deadline=Deadline.after(30))
    assert case.serves()


def test_a_canary_that_errs_is_rolled_back(
    backend: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """The model server in its Pod commits the fault that it is told."""
    case = under(platform, high_utiliser, "replica-errors", "watching", "canary", share=0.6)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
